"""The helper package of the book Vanishing Gradients.

`import vgutils as vg` loads nothing heavy; a name brings its room with it when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vgutils.attention import Transformer as Transformer
    from vgutils.claims import Claim as Claim
    from vgutils.claims import ClaimFailed as ClaimFailed
    from vgutils.claims import Tolerance as Tolerance
    from vgutils.claims import absolute as absolute
    from vgutils.claims import claim as claim
    from vgutils.claims import relative as relative
    from vgutils.claims import rounding as rounding
    from vgutils.claims import sampling as sampling
    from vgutils.convolution import ConvNet as ConvNet
    from vgutils.costs import Cost as Cost
    from vgutils.costs import cost as cost
    from vgutils.costs import flops as flops
    from vgutils.diagnosis import Diagnosis as Diagnosis
    from vgutils.diagnosis import diagnose as diagnose
    from vgutils.exercises import check as check
    from vgutils.explore import explorable as explorable
    from vgutils.figures import COLORS as COLORS
    from vgutils.figures import show as show
    from vgutils.figures import style as style
    from vgutils.figures import subplots as subplots
    from vgutils.html import number as number
    from vgutils.html import say as say
    from vgutils.models import MLP as MLP
    from vgutils.plots import plot_loss as plot_loss
    from vgutils.plots import plot_network as plot_network
    from vgutils.plots import plot_profile as plot_profile
    from vgutils.probe import Profile as Profile
    from vgutils.probe import instrument as instrument
    from vgutils.probe import norm as norm
    from vgutils.probe import profile as profile
    from vgutils.probe import profile_seeds as profile_seeds
    from vgutils.probe import read as read
    from vgutils.quizzes import Answer as Answer
    from vgutils.quizzes import Question as Question
    from vgutils.quizzes import quiz as quiz
    from vgutils.recurrent import Recurrent as Recurrent
    from vgutils.recurrent import through_time as through_time
    from vgutils.residual import ResidualMLP as ResidualMLP
    from vgutils.settings import seed as seed
    from vgutils.settings import size as size
    from vgutils.sweeps import sweep as sweep
    from vgutils.training import History as History
    from vgutils.training import train as train
    from vgutils.training import train_seeds as train_seeds

__version__ = "0.1.0"

_ROOMS = (
    "activations",
    "alerts",
    "attention",
    "claims",
    "convolution",
    "costs",
    "dashboards",
    "datasets",
    "diagnosis",
    "evidence",
    "exercises",
    "explore",
    "figures",
    "findings",
    "html",
    "initializers",
    "models",
    "plots",
    "probe",
    "quizzes",
    "recurrent",
    "residual",
    "sequences",
    "settings",
    "spectra",
    "sweeps",
    "theory",
    "training",
)
_ROOM_OF = {
    "Transformer": "attention",
    "Claim": "claims",
    "ClaimFailed": "claims",
    "Tolerance": "claims",
    "absolute": "claims",
    "claim": "claims",
    "relative": "claims",
    "rounding": "claims",
    "sampling": "claims",
    "ConvNet": "convolution",
    "Cost": "costs",
    "cost": "costs",
    "flops": "costs",
    "Diagnosis": "diagnosis",
    "diagnose": "diagnosis",
    "check": "exercises",
    "explorable": "explore",
    "COLORS": "figures",
    "show": "figures",
    "style": "figures",
    "subplots": "figures",
    "number": "html",
    "say": "html",
    "MLP": "models",
    "plot_loss": "plots",
    "plot_network": "plots",
    "plot_profile": "plots",
    "Profile": "probe",
    "instrument": "probe",
    "norm": "probe",
    "profile": "probe",
    "profile_seeds": "probe",
    "read": "probe",
    "Answer": "quizzes",
    "Question": "quizzes",
    "quiz": "quizzes",
    "Recurrent": "recurrent",
    "through_time": "recurrent",
    "ResidualMLP": "residual",
    "seed": "settings",
    "size": "settings",
    "sweep": "sweeps",
    "History": "training",
    "train": "training",
    "train_seeds": "training",
}
__all__ = [*_ROOMS, *_ROOM_OF]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"vgutils.{name}")
    if name in _ROOM_OF:
        return getattr(importlib.import_module(f"vgutils.{_ROOM_OF[name]}"), name)
    raise AttributeError(f"module 'vgutils' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
