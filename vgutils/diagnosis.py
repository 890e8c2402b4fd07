"""My loss does not move: from a model, a loss and a batch to a verdict, its evidence and its cures.

`diagnose` measures (`vgutils.evidence`), then asks what is wrong (`vgutils.findings`), from causes
to their consequences: the first finding is the verdict. What helps against it is data, `CURES`.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from vgutils import errors
from vgutils.evidence import Evidence, collect
from vgutils.findings import LIMITS, QUESTIONS, Finding
from vgutils.probe import WEIGHTS, Profile, matches


@dataclasses.dataclass(frozen=True)
class Cure:
    """What to try, how often it is enough first, and where the book explains it.

    Attributes:
        name: A short name, such as "initialization".
        text: What to do.
        chapter: The chapter's name, such as "relu".
    """

    name: str
    text: str
    chapter: str


CURES: dict[str, tuple[str, tuple[Cure, ...]]] = {
    "vanishing": (
        "weights and slopes together shrink the gradient at each layer on its way back",
        (
            Cure(
                "initialization",
                "Give the weights the gain of the activation.",
                "initialization",
            ),
            Cure(
                "residual", "Add skip connections around every layer or two.", "resnet"
            ),
            Cure(
                "normalization",
                "Normalize each layer's pre-activations.",
                "normalization",
            ),
            Cure("activation", "Take ReLU, with He's initialization, or tanh.", "relu"),
        ),
    ),
    "vanishing through time": (
        "the gradient shrinks at each step back through the recurrence",
        (
            Cure(
                "gates", "Take a gated cell, its forget bias about log(length).", "lstm"
            ),
            Cure(
                "recurrence",
                "Start the recurrent weights orthogonal or at identity.",
                "rnn",
            ),
            Cure(
                "attention", "Let the output attend to every position.", "transformers"
            ),
        ),
    ),
    "exploding": (
        "weights and slopes together enlarge the gradient at each layer on its way back",
        (
            Cure(
                "initialization",
                "Give the weights the gain of the activation.",
                "initialization",
            ),
            Cure(
                "normalization", "Normalize, or scale residual branches down.", "resnet"
            ),
            Cure("clipping", "Clip the gradient's global norm.", "exploding"),
        ),
    ),
    "saturated": (
        "pre-activations are so large that the activation's slope is almost 0",
        (
            Cure("initialization", "Make the weights smaller.", "sigmoid"),
            Cure("normalization", "Normalize the pre-activations.", "normalization"),
            Cure(
                "inputs", "Scale the inputs to mean 0 and variance 1.", "initialization"
            ),
        ),
    ),
    "dead units": (
        "most ReLUs give 0 on every example, so that no gradient passes them",
        (
            Cure(
                "activation", "Take a leaky activation: LeakyReLU, ELU, GELU.", "relu"
            ),
            Cure(
                "initialization", "He's weights and zero biases; start again.", "relu"
            ),
            Cure(
                "learning rate", "Lower it: a large step kills units for good.", "relu"
            ),
        ),
    ),
    "collapsed": (
        "examples become alike on the way up, though the gradient's size is healthy",
        (
            Cure("residual", "Add skip connections.", "resnet"),
            Cure(
                "initialization",
                "Start orthogonal, at the edge of chaos.",
                "edge_of_chaos",
            ),
            Cure("depth", "Take fewer layers.", "edge_of_chaos"),
        ),
    ),
    "symmetric units": (
        "all units of a layer have equal weights and equal gradients, and stay equal",
        (Cure("initialization", "Draw the weights at random.", "initialization"),),
    ),
    "frozen parameters": (
        "no gradient, or no update, reaches some parameters",
        (
            Cure(
                "connection",
                "Look for stop_gradient, an integer or argmax on the path, a module that is "
                "never called, a mask in the optimizer.",
                "chain_rule",
            ),
        ),
    ),
    "underflow": (
        "the gradient is smaller than the smallest number of its 16-bit format",
        (
            Cure("loss scale", "Multiply the loss before, divide after.", "exploding"),
            Cure("dtype", "Compute in bfloat16 or float32.", "exploding"),
        ),
    ),
    "overflow": (
        "a number is larger than its format holds, or undefined",
        (
            Cure(
                "dtype",
                "Compute in bfloat16 or float32; lower the loss scale.",
                "exploding",
            ),
            Cure(
                "stable", "Take the stable form: log_softmax, logsumexp.", "exploding"
            ),
        ),
    ),
    "bad data": (
        "no network learns from this batch",
        (Cure("data", "Clean the batch, then scale the inputs.", "problem"),),
    ),
    "learning rate too high": (
        "each step goes past the minimum along some direction",
        (
            Cure(
                "learning rate",
                "Lower it by the factor that the trial found.",
                "optimizers",
            ),
            Cure("warm-up", "Start low and rise.", "optimizers"),
        ),
    ),
    "learning rate too low": (
        "the steps are too small to show",
        (
            Cure(
                "learning rate",
                "Raise it by the factor that the trial found.",
                "optimizers",
            ),
        ),
    ),
    "plateau": (
        "the gradient reaches every layer, and no learning rate lowers the loss: a minimum, a "
        "saddle, or targets that do not depend on the inputs",
        (
            Cure("targets", "Compare with the best constant answer.", "problem"),
            Cure("data", "Check that inputs and targets belong together.", "problem"),
        ),
    ),
    "healthy": ("", ()),
}
"""For each verdict its likely cause, and cures, the first to try first."""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. `print` shows it as a table, a notebook as a figure too.

    Attributes:
        findings: The verdict first; what else is wrong behind it. Empty if healthy.
        evidence: All that was measured.
    """

    findings: tuple[Finding, ...]
    evidence: Evidence

    @property
    def verdict(self) -> str:
        """A key of `CURES`: "healthy", "vanishing", ..."""
        return self.findings[0].verdict if self.findings else "healthy"

    @property
    def cause(self) -> str:
        """The likely cause, in a sentence; "" if healthy."""
        return CURES[self.verdict][0]

    @property
    def cures(self) -> tuple[Cure, ...]:
        """What to try, in this order."""
        return CURES[self.verdict][1]

    @property
    def profile(self) -> Profile:
        """The `Profile` of every submodule."""
        return self.evidence.profile

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, ready for JSON."""
        evidence = {
            field.name: getattr(self.evidence, field.name)
            for field in dataclasses.fields(self.evidence)
        }
        return {
            "verdict": self.verdict,
            "cause": self.cause,
            "findings": [
                {**dataclasses.asdict(f), "numbers": dict(f.numbers)}
                for f in self.findings
            ],
            "cures": [dataclasses.asdict(cure) for cure in self.cures],
            "evidence": {
                name: value.to_dict() if isinstance(value, Profile) else _plain(value)
                for name, value in evidence.items()
            },
        }

    def __str__(self) -> str:
        """The verdict, its evidence, cause and cures, then the profile."""
        lines = [f"verdict   {self.verdict}"]
        lines += [f"evidence  {finding.evidence}" for finding in self.findings[:1]]
        if self.cause:
            lines.append(f"cause     {self.cause}")
        for i, cure in enumerate(self.cures, 1):
            lines.append(f"cure {i}    {cure.text} (chapter {cure.chapter})")
        lines += [f"also      {f.verdict}: {f.evidence}" for f in self.findings[1:]]
        return "\n".join([*lines, "", str(self.profile)])

    def _repr_html_(self) -> str:
        """A card with the verdict, and the profile as a figure."""
        from vgutils import figures, plots
        from vgutils.html import STYLE, inline, typeset

        tone = "good" if self.verdict == "healthy" else "warn"
        rows = [("Evidence", f.evidence) for f in self.findings[:1]]
        rows += [("Cause", self.cause)] if self.cause else []
        rows += [
            (f"Cure {i}", f"{cure.text} (chapter `{cure.chapter}`)")
            for i, cure in enumerate(self.cures, 1)
        ]
        rows += [("Also", f"{f.verdict}: {f.evidence}") for f in self.findings[1:]]
        body = "".join(
            f"<p><b>{html.escape(name)}.</b> {inline(typeset(words))}</p>"
            for name, words in rows
        )
        fig, ax = figures.subplots()
        plots.plot_profile(self.profile, ax=ax)
        svg = figures.to_svg(
            fig,
            alt=f"Gradient norm of each of {len(self.profile.names)} layers",
            name="diagnosis",
        )
        return (
            f'<style>{STYLE}</style><div class="vg-box" style="--vg-tone:var(--vg-{tone})">'
            f'<p class="vg-tag">{html.escape(self.verdict)}</p>{body}{svg}</div>'
        )


def diagnose(
    model: nnx.Module,
    loss: Callable[..., Any],
    *batch: Any,
    optimizer: optax.GradientTransformation | None = None,
    steps: int = 20,
    limits: Mapping[str, float] | None = None,
    frozen: tuple[str, ...] = (),
) -> Diagnosis:
    """Say whether a model can learn from a batch, and if not, why and what to try.

    Two programs run: a reverse pass with a tap on every submodule, and trials of `steps` training
    steps on this batch, with the optimizer's updates as they are and times 0.001 to 100,000. The
    model is not changed.

    Args:
        model: Any Flax NNX module.
        loss: `loss(model, *batch)` gives a scalar, or a tuple that begins with one.
        *batch: What the loss takes; by custom the inputs first, the targets second.
        optimizer: What trains the model; `optax.adam(1e-3)` if None.
        steps: Steps of each trial; 0 for none, and for no verdict that rests on them.
        limits: Thresholds that replace those in `LIMITS`, by name.
        frozen: Names or patterns of parameters that are meant not to move, such as "encoder*".

    Returns:
        A `Diagnosis`.

    Raises:
        TypeError: `model` is not an NNX module, `loss` not callable or not a float scalar, a
            parameter not floating, `optimizer` not from Optax, an argument not of its type.
        ValueError: The model has no parameters, the batch is empty or absent, the loss calls no
            submodule, a buffer was donated or deleted, a limit's name is unknown.
    """
    _check(model, loss, batch, optimizer, frozen)
    errors.integer("steps", steps, minimum=0)
    evidence = collect(
        model, loss, batch, optax.adam(1e-3) if optimizer is None else optimizer, steps
    )
    return judge(evidence, limits, frozen=frozen)


def judge(
    evidence: Evidence,
    limits: Mapping[str, float] | None = None,
    *,
    frozen: tuple[str, ...] = (),
) -> Diagnosis:
    """The diagnosis that evidence leads to: no measurement, so that limits can be tried out.

    Args:
        evidence: What `diagnose` measured: `diagnosis.evidence`.
        limits: As for `diagnose`.
        frozen: As for `diagnose`.

    Raises:
        ValueError: A limit's name is unknown.
        TypeError: A limit is not a number.
    """
    values = {name: limit.value for name, limit in LIMITS.items()}
    for name, value in (limits or {}).items():
        errors.one_of("limits", name, LIMITS)
        values[name] = errors.number(f"limits[{name!r}]", value, minimum=0)
    evidence = dataclasses.replace(
        evidence,
        unmoved=tuple(n for n in evidence.unmoved if not matches(n, frozen)),
        uncalled=tuple(n for n in evidence.uncalled if not matches(n, frozen)),
    )
    answers = [question(evidence, values) for question in QUESTIONS]
    return Diagnosis(tuple(answer for answer in answers if answer), evidence)


def _check(
    model: Any, loss: Any, batch: tuple[Any, ...], optimizer: Any, frozen: Any
) -> None:
    """Raise what `diagnose` says it raises, before anything is traced."""
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax.nnx.Module, got {type(model).__name__}")
    if not callable(loss):
        raise TypeError(f"loss must be callable as loss(model, *batch), got {loss!r}")
    if optimizer is not None and not isinstance(
        optimizer, optax.GradientTransformation
    ):
        raise TypeError(
            "optimizer must be an optax.GradientTransformation such as optax.adam(1e-3), "
            f"got {type(optimizer).__name__}"
        )
    if isinstance(frozen, str) or not all(isinstance(name, str) for name in frozen):
        raise TypeError(f"frozen must be a tuple of names or patterns, got {frozen!r}")
    parameters = [
        (".".join(map(str, path)), value)
        for path, leaf in nnx.to_flat_state(nnx.state(model, WEIGHTS))
        # Not leaf[...]: indexing an array that was deleted fails.
        for value in jax.tree.leaves(leaf)
    ]
    if not any(value.size for _, value in parameters):
        raise ValueError(
            "model must have trainable parameters (nnx.Param), it has none"
        )
    for name, value in parameters:
        if isinstance(value, jax.Array) and value.is_deleted():
            raise ValueError(
                f"model must hold its parameters; {name} was donated or deleted"
            )
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise TypeError(
                f"model must have floating parameters; {name} has dtype {value.dtype} "
                "(keep counters in an nnx.Variable that is no nnx.Param)"
            )
    leaves = jax.tree.leaves(batch)
    if not leaves:
        raise ValueError("batch must hold at least one array, got none")
    for leaf in leaves:
        if isinstance(leaf, jax.Array) and leaf.is_deleted():
            raise ValueError("batch must hold arrays; one was donated or deleted")
        if np.size(leaf) == 0:
            raise ValueError(
                f"batch must not be empty, got an array of shape {np.shape(leaf)}"
            )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
