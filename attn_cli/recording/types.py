"""What passes from a caught function to where it is kept: frozen records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from attn_cli.attention.types import AttentionInputs
from attn_cli.recording.masks.forms import Form

Align = Literal["top-left", "bottom-right"]


@dataclass(frozen=True)
class RawCall:
    """One attention call as a library's function was given it; all tensors detached, on their own device.

    Attributes:
        q: ``(B, Hq, Sq, D)``.
        k: ``(B, Hkv, Sk, D)``.
        v: ``(B, Hkv, Sk, Dv)``.
        mask: bool (True = may attend) or float (added to the logits), 2 to 4 axes that broadcast from the right to
            ``(B, Hq, Sq, Sk)``, or None.
        form: what hides keys in the place of a mask, found where the library has functions and no tensor for it.
        bias: float, likewise, where there is one beside a mask.
        valid_lens: ``(B,)`` or ``(B, Sq)`` int64, keys counted from the first, or None.
        causal: how causal order is aligned, or None where there is none.
        window: keys kept ``(left, right)`` of a query's place, which ``causal`` aligns, or bottom-right; −1 is
            unlimited.
        scale, softcap: None is 1/√D and no cap.
        sinks: ``(Hq,)`` learned logits in the denominator.
        dropout: probability with which the function dropped weights.
        output: ``(B, Hq, Sq, Dv)``, what the function gave, or None where it does not give the heads' output or dropped
            weights.
        weights: ``(B, Hq, Sq, Sk)``, likewise.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None = None
    form: Form = field(default_factory=Form)
    bias: Tensor | None = None
    valid_lens: Tensor | None = None
    causal: Align | None = None
    window: tuple[int, int] | None = None
    scale: float | None = None
    softcap: float | None = None
    sinks: Tensor | None = None
    dropout: float = 0.0
    output: Tensor | None = None
    weights: Tensor | None = None


@dataclass(frozen=True)
class CallSite:
    """Where a call was made.

    Attributes:
        module: path of the innermost ``nn.Module`` that was running, within the outermost, such as
            ``"encoder.layer.3.attention"``; outside of modules ``"train_31"``, file and line. Its
            first part is never ``"steps"``, with which a capture's names of later steps begin.
        root: class of the outermost module, or empty.
        step: how many calls came before from the same place.
        function: the function that was caught, e.g. ``"scaled_dot_product_attention"``.
        caller: who called it, outside of PyTorch: ``"transformers/integrations/sdpa_attention.py:92 in forward"``.
    """

    module: str
    root: str
    step: int
    function: str
    caller: str


@dataclass(frozen=True)
class CaughtCall:
    """One call that is to be kept, its mask in the smallest form that says the same.

    Attributes:
        number: counts all calls that the program made, from 0.
        site: where it was made.
        inputs: tensors on the device they were on; ``index`` says which heads they are of.
        align: ``"bottom-right"``, ``"top-left"`` or a number N: query i is at place i + N.
        dropout: as in :class:`RawCall`.
        output: ``(B, Hq, Sq, Dv)`` of the kept heads, or None.
        weights: ``(B, Hq, Sq, Sk)`` of the kept heads, or None.
        tokens: for each batch item the text of each key, or None where unknown.
    """

    number: int
    site: CallSite
    inputs: AttentionInputs
    align: str | int
    dropout: float = 0.0
    output: Tensor | None = None
    weights: Tensor | None = None
    tokens: tuple[tuple[str, ...], ...] | None = None


class Sink(Protocol):
    """Takes calls while the program runs, in the threads that made them, perhaps several at once."""

    def take(self, call: CaughtCall) -> bool:
        """Keep a call; False where there is no room for it, and none for those that follow.

        It may raise PassedOver, as a point does; whatever else it raises ends the recording.
        """
        ...


@dataclass(frozen=True)
class Heard:
    """What a recording heard, kept or not.

    Attributes:
        calls: attention calls that were heard.
        kept: of these, those that were given to the sink and taken.
        is_full: True where the sink had no more room.
        passed_over: why calls that were meant to be kept were not, and how many, e.g. ``("nested tensors", 4)``.
        fault: what went wrong in the recording itself and ended it, or None.
        compiled: True where the program used ``torch.compile``, in whose code not all attention can be seen.
    """

    calls: int = 0
    kept: int = 0
    is_full: bool = False
    passed_over: tuple[tuple[str, int], ...] = ()
    fault: str | None = None
    compiled: bool = False
