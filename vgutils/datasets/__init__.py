"""Real data that ships with the package, so that nothing is downloaded.

Each file under `vgutils/data` has its origin, licence and checksum in the README there.
"""

from vgutils.datasets.brain import Brain as Brain
from vgutils.datasets.brain import brain as brain
from vgutils.datasets.mnist import Digits as Digits
from vgutils.datasets.mnist import digits as digits
from vgutils.datasets.prices import Prices as Prices
from vgutils.datasets.prices import log_range as log_range
from vgutils.datasets.prices import log_returns as log_returns
from vgutils.datasets.prices import prices as prices
from vgutils.datasets.prices import windows as windows
from vgutils.datasets.reviews import Reviews as Reviews
from vgutils.datasets.reviews import reviews as reviews
from vgutils.datasets.textures import Texture as Texture
from vgutils.datasets.textures import patches as patches
from vgutils.datasets.textures import texture as texture
