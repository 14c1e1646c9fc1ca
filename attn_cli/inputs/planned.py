"""One attention call that was found in a file: the names of its tensors, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from attn_cli.attention.selection import Selection
from attn_cli.attention.types import AttentionInputs, ModuleInputs
from attn_cli.inputs.call_site import read_call_site
from attn_cli.inputs.calls import CallNames
from attn_cli.inputs.given_tokens import GivenTokens
from attn_cli.inputs.kept_heads import KeptHeads, read_kept_heads
from attn_cli.inputs.layout import Reading
from attn_cli.inputs.metadata import Metadata, Texts
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.projections import Projections
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.recorded import ReadRecord, read_recorded
from attn_cli.inputs.rules import ReadRules, aligns_by_default
from attn_cli.inputs.settings import FILE, Settings, align_name, read_settings
from attn_cli.inputs.tokens import CallTokens, ReadTokens
from attn_cli.inputs.types import Convention, LoadedCall, TensorInfo
from attn_cli.inputs.validation import CallSizes

Infos = tuple[TensorInfo, TensorInfo, TensorInfo]
ORDER = (
    "recorded", "dropout", "layout", "heads", "kept heads", "scale", "softcap", "mask", "valid lengths", "causal",
    "alignment", "window", "bias", "sinks", "mask value", "dtype", "padding", "inputs", "projections", "tokens",
    "output",
)  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """A call before its tensors are read.

    Attributes:
        prefix: what stands before the names of its tensors.
        layer: its number, or None.
        call: its tensors' names.
        file: the open file they are in.
        projections: its projection weights, or None.
        weights: the open file those are in.
        options: what the flags say.
        unused: tensors of ``file`` that no call uses.
        given: what the flags say about the keys.
        texts, weights_texts: the text values of both files.
    """

    prefix: str
    layer: int | None
    call: CallNames
    file: TensorFile
    projections: Projections | None
    weights: TensorFile
    options: ReadOptions
    unused: tuple[TensorInfo, ...]
    given: GivenTokens
    texts: Texts
    weights_texts: Texts

    @property
    def infos(self) -> Infos:
        """The call's three tensors as the file has them."""
        q, k, v = (self.file.info(name) for name in self.call.triple)
        return q, k, v

    @cached_property
    def metadata(self) -> Metadata:
        """The file's text values as they apply to this call."""
        return self.texts.of(self.prefix)

    def check_unchanged(self) -> None:
        """Refuse files that changed since they were opened: no result of theirs is to be told.

        Raises:
            InputError: where one was written to or cut short.
        """
        self.file.check_unchanged()
        self.weights.check_unchanged()

    def settings(self) -> Settings:
        """What flags and metadata say about the call.

        Raises:
            UsageError, InputError: where they say what cannot be.
        """
        weights = None
        if self.projections is not None and self.weights is not self.file:
            weights = self.weights_texts.of(self.projections.root)
        return read_settings(self.options, self.metadata, weights)

    def tokens(self, sizes: CallSizes) -> CallTokens:
        """Where what is known of the keys stands."""
        return CallTokens(self.file, self.call.token_ids, self.metadata, self.given, sizes)

    def kept_heads(self, sizes: CallSizes) -> tuple[KeptHeads | None, list[Convention]]:
        """The heads that a recording kept, where it left some out."""
        kept, said = read_kept_heads(self.metadata, sizes)
        return kept, [] if said is None else [said]

    def recorded(self, sizes: CallSizes, reading: Reading | None = None) -> ReadRecord:
        """What the file says came out of the call."""
        has_projection = self.projections is not None and self.projections.o is not None
        output, weights = self.call.output, self.call.weights
        return read_recorded(self.file, output, weights, sizes, reading, is_projected_on=has_projection)


def loaded(
    plan: Planned,
    inputs: AttentionInputs | ModuleInputs,
    sizes: CallSizes,
    selection: Selection,
    rules: ReadRules,
    tokens: ReadTokens,
    tensors: tuple[TensorInfo, ...],
    conventions: Sequence[Convention],
    record: ReadRecord,
) -> LoadedCall:
    """The record of a call whose tensors are read.

    Args:
        plan: where they came from.
        inputs: what they are.
        sizes: of the whole call.
        selection: the part to inspect.
        rules: as read.
        tokens: what is known of the keys.
        tensors: the call's other tensors with their roles.
        conventions: beside those of the rules, the tokens and the recording.
        record: what the file says came out of it.
    """
    settings = plan.settings()
    every = [*conventions, *_grouped(sizes, settings), *rules.conventions, *record.conventions]
    every += [*tokens.conventions, *read_call_site(plan.metadata)]
    return LoadedCall(
        source=plan.file.path,
        prefix=plan.prefix,
        layer=plan.layer,
        inputs=inputs,
        selection=selection,
        tensors=(*tensors, *rules.tensors, *tokens.tensors, *record.tensors),
        unused=plan.unused,
        conventions=tuple(sorted(every, key=lambda convention: ORDER.index(convention.name))),
        tokens=tokens.texts,
        align=align_name(settings.align.value),
        align_chosen=not aligns_by_default(sizes, settings),
        recorded=record.recorded,
        constraints=rules.constraints,
    )


def with_roles(infos: Infos, roles: tuple[str, str, str]) -> tuple[TensorInfo, ...]:
    """The three tensors with what each was taken for."""
    return tuple(replace(info, role=role) for info, role in zip(infos, roles, strict=True))


def _grouped(sizes: CallSizes, settings: Settings) -> list[Convention]:
    if sizes.heads == sizes.kv_heads:
        return []
    origin = FILE if settings.num_kv_heads.value is None else settings.num_kv_heads.origin
    shared = f"{sizes.kv_heads} key/value head{'s' if sizes.kv_heads > 1 else ''}"
    return [Convention("heads", f"{sizes.heads} query heads share {shared}", origin)]
