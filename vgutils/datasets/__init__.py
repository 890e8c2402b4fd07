"""Real data that ships with the package, so that nothing is downloaded.

Each file under `vgutils/data` has its origin, licence and checksum in the README there.
"""

from vgutils.datasets.mnist import Digits as Digits
from vgutils.datasets.mnist import digits as digits
