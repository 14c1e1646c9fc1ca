"""Which calls of a file are meant, and where their projection weights are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import itemgetter

from attn_cli.errors import InputError, in_file
from attn_cli.inputs.call_site import LAST_CALL, call_number
from attn_cli.inputs.calls import CallNames, FoundCalls, Incomplete, find_calls
from attn_cli.inputs.collecting import nothing_collected
from attn_cli.inputs.given_tokens import GivenTokens, read_given_tokens
from attn_cli.inputs.limits import MOST_ALIKE, MOST_PAIRS, MOST_PARTS
from attn_cli.inputs.loading import CallPlan
from attn_cli.inputs.matching import ambiguous, listed, nearest_projections
from attn_cli.inputs.metadata import Texts
from attn_cli.inputs.names import is_behind, is_meant, join, role_of, split_name, step_of, without_step
from attn_cli.inputs.naming import named_call
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.projections import Projections, find_projections
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.text import contents, few, shown, spans
from attn_cli.inputs.types import TensorInfo

EXPECTED = "expected q, k and v, or queries, keys and values or hidden_states with projection weights"


def plan_calls(options: ReadOptions, file: TensorFile, weights: TensorFile | None) -> tuple[CallPlan, ...]:
    """Every call that is meant: modules in the order in which a recorded program ran them, else by layer and name.

    The steps of a module stand together.

    Args:
        options: what the flags say.
        file: with the calls.
        weights: with projection weights, or None where ``file`` has its own.

    Raises:
        InputError: where there is none, or it is unclear which is meant.
    """
    with nothing_collected():
        return _Planner(options, file, weights).plans()


@dataclass(frozen=True)
class _Planner:
    options: ReadOptions
    file: TensorFile
    weights: TensorFile | None
    _found_near: dict[tuple[object, ...], list[Projections]] = field(default_factory=dict)

    def plans(self) -> tuple[CallPlan, ...]:
        """The plans, each with its weights."""
        _check_parts(self.file)
        _check_alike(self.file)
        projections = find_projections((self.weights or self.file).names)
        found = self._found(projections)
        self._check_pairs(found, projections)
        meant = self._of_steps(self._of_layer(self._behind_prefix(found, projections), found, projections))
        chosen = self._chosen_prefix(meant, projections)
        served = self._served([(call, self._weights_of(call, projections, chosen)) for call in meant])
        given = read_given_tokens(self.options, self.file)
        if given.tokenizer is not None:
            self._check_ids([call for call, _ in served], given)
        unused = tuple(self.file.info(name) for name in self._unused(found.calls, projections, given))
        return _in_order([self._plan(*one, unused, given) for one in served])

    def _check_pairs(self, found: FoundCalls, projections: Sequence[Projections]) -> None:
        """Refuse more calls and more weights than can be compared with one another."""
        modules = len({without_step(call.prefix) for call in found.calls})
        if modules * len(projections) > MOST_PAIRS:
            said = f"holds {modules} calls for {len(projections)} sets of projection weights"
            raise in_file(self.file.path, said, f"expected at most {MOST_PAIRS} pairs of one and the other")

    def _plan(
        self, call: CallNames, layers: Projections | None, unused: tuple[TensorInfo, ...], given: GivenTokens
    ) -> CallPlan:
        layer = call.layer
        if layer is None and layers is not None and not call.is_projected:
            layer = layers.layer
        file, weights = self.file, self.weights or self.file
        texts, weights_texts = self._texts
        return CallPlan(
            call.prefix, layer, call, file, layers, weights, self.options, unused, given, texts, weights_texts
        )

    @cached_property
    def _texts(self) -> tuple[Texts, Texts]:
        """The text values of the file with the calls and of that with their weights."""
        texts = Texts(self.file.path, self.file.metadata)
        return texts, texts if self.weights is None else Texts(self.weights.path, self.weights.metadata)

    def _found(self, projections: Sequence[Projections]) -> FoundCalls:
        """The calls of the file, or the one that the flags name."""
        if self.options.file is not None and (self.options.q or self.options.k or self.options.v):
            return FoundCalls((named_call(self.options, self.file),), ())
        found = find_calls(self.file.names, () if self.weights else projections)
        if not found.calls:
            raise self._no_call(found.incomplete)
        return found

    def _no_call(self, incomplete: Sequence[Incomplete]) -> InputError:
        names = self.file.names
        nearly = few([f"{one.prefix}: {one.reason}" if one.prefix else one.reason for one in incomplete], 3)
        found = nearly or f"none of its {len(names)} tensors is part of an attention call"
        hint = f"name them with --q, --k and --v; in the file are\n{contents(names, self.file.info)}" if names else None
        return in_file(self.file.path, found, EXPECTED, hint)

    def _behind_prefix(self, found: FoundCalls, projections: Sequence[Projections]) -> list[CallNames]:
        """The calls that ``--prefix`` means: behind it, or with weights behind it."""
        prefix, calls = self.options.prefix, list(found.calls)
        if prefix is None:
            return calls
        behind = [call for call in calls if is_meant(call.prefix, prefix)]
        has_weights = any(is_behind(layers.root, prefix) for layers in projections)
        if behind or (self.weights is not None and has_weights):
            return behind or calls
        outer = [call for call in calls if has_weights and not call.is_projected and is_behind(prefix, call.prefix)]
        if outer:
            return outer
        self._refuse_incomplete([one for one in found.incomplete if is_meant(one.prefix, prefix)])
        expected = f"expected one of {_prefixes(calls)}"
        if self.weights is not None and projections:
            expected += f", or one of the weights in {self.weights.path}: {listed(projections)}"
        raise in_file(self.file.path, f"nothing under --prefix {shown(prefix)}", expected)

    def _of_layer(
        self, calls: list[CallNames], found: FoundCalls, projections: Sequence[Projections]
    ) -> list[CallNames]:
        """The calls that ``--layer`` means, of every module with its number, as in an encoder and a decoder.

        A call without a number takes the layer's weights, where it is clear which call is meant.
        """
        layer = self.options.layer
        if layer is None:
            return calls
        matches = [call for call in calls if call.layer == layer]
        if not matches and any(layers.layer == layer for layers in projections):
            matches = [replace(call, layer=layer) for call in calls if call.layer is None]
            if len({without_step(call.prefix).lower() for call in matches}) > 1:
                hint = "choose one with --prefix"
                raise in_file(self.file.path, f"--layer {layer} is {_prefixes(matches)}", "expected one call", hint)
        if not matches:
            self._refuse_incomplete([one for one in found.incomplete if one.layer == layer])
            raise in_file(self.file.path, f"no call in --layer {layer}", f"expected one of {_layers(calls)}")
        return matches

    def _of_steps(self, calls: list[CallNames]) -> list[CallNames]:
        """The calls that ``--step`` means; a module that was called less often has none of the later ones."""
        steps = self.options.steps
        if steps is None:
            return calls
        there = {step_of(call.prefix) for call in calls}
        lacking = next((step for step in steps if step not in there), None)
        if lacking is not None:
            raise in_file(self.file.path, f"no call in --step {lacking}", f"expected one of the steps {spans(there)}")
        wanted = frozenset(steps)
        return [call for call in calls if step_of(call.prefix) in wanted]

    def _check_ids(self, calls: Sequence[CallNames], given: GivenTokens) -> None:
        """Refuse a tokenizer where no call has ids for it."""
        if given.ids is None and not any(call.token_ids or given.tensor_of(call.prefix) for call in calls):
            found = f"no token ids for --tokenizer {self.options.tokenizer}"
            expected = "expected a tensor called token_ids (B, Sk), or --tokens"
            raise in_file(self.file.path, found, expected, "--tokens ids.json gives them")

    def _refuse_incomplete(self, incomplete: Sequence[Incomplete]) -> None:
        if incomplete:
            raise self._no_call(incomplete)

    def _chosen_prefix(self, meant: Sequence[CallNames], projections: Sequence[Projections]) -> str | None:
        """What ``--prefix`` chooses among the weights; None where it chose among the calls instead."""
        prefix = self.options.prefix
        if prefix is None or not any(is_behind(layers.root, prefix) for layers in projections):
            return None
        return prefix if self.weights or not all(is_meant(call.prefix, prefix) for call in meant) else None

    def _weights_of(
        self, call: CallNames, projections: Sequence[Projections], chosen: str | None
    ) -> Projections | None:
        """The weights of one call. Where they are only W_o for projected heads, none is no fault."""
        near = self._near(call, projections, chosen)
        if len(near) > 1 and (self.weights or not call.is_projected):
            raise ambiguous((self.weights or self.file).path, call.prefix, near)
        return near[0] if len(near) == 1 else None

    def _near(self, call: CallNames, projections: Sequence[Projections], chosen: str | None) -> list[Projections]:
        """The weights that fit a call best; all steps of a module have the same."""
        module = without_step(call.prefix)
        key = (module, call.layer, call.is_projected, chosen)
        if key not in self._found_near:
            self._found_near[key] = nearest_projections(
                projections,
                module,
                call.layer,
                chosen,
                (lambda layers: layers.o is not None) if call.is_projected else (lambda layers: layers.has_inputs),
                anywhere=not call.is_projected or self.weights is not None or module == "",
            )
        return self._found_near[key]

    def _served(
        self, calls: Sequence[tuple[CallNames, Projections | None]]
    ) -> list[tuple[CallNames, Projections | None]]:
        """The calls that can be loaded.

        Hidden states without weights are left alone beside projected heads, and refused where they are what is meant.
        """
        served = [(call, layers) for call, layers in calls if layers is not None or call.is_projected]
        bare = [call for call, layers in calls if layers is None and not call.is_projected]
        if bare and not any(call.is_projected for call, _ in served):
            raise self._no_weights(bare, [call for call, _ in served])
        if self.weights is not None and all(layers is None for _, layers in served):
            raise self._no_weights([call for call, _ in served], [])
        return served

    def _no_weights(self, bare: Sequence[CallNames], served: Sequence[CallNames]) -> InputError:
        """The refusal of calls that need weights and have none."""
        file = self.weights or self.file
        there = find_projections(file.names)
        found = f"no projection weights for {few([call.triple[0] for call in bare])}"
        expected = (
            f"expected them behind the call's prefix; there are {listed(there)}"
            if there
            else "expected W_q.weight, W_k.weight and W_v.weight, or another of the known styles"
        )
        hint = "--weights-file names a file that holds them" if self.weights is None else "--prefix says where they are"
        numbers = [call.layer for call in served if call.layer is not None]
        if numbers:
            hint = f"there are weights for --layer {' and '.join(map(str, numbers))}"
        return in_file(file.path, found, expected, hint)

    def _unused(self, calls: Sequence[CallNames], projections: Sequence[Projections], given: GivenTokens) -> list[str]:
        """Names in the file that no call uses, whichever calls are meant."""
        used = set(given.tensors)
        for call in calls:
            near = self._near(call, projections, None)
            if near or call.is_projected:
                used.update(call.names, *(() if self.weights else (layers.names for layers in near)))
        return [name for name in self.file.names if name not in used]


def _check_parts(file: TensorFile) -> None:
    most = max((name.count(".") for name in file.names), default=0) + 1
    if most > MOST_PARTS:
        raise in_file(
            file.path, f"a name in it has {most} parts with dots between them", f"expected {MOST_PARTS} at most"
        )


def _check_alike(file: TensorFile) -> None:
    parts = map(split_name, file.names)
    alike = Counter((prefix, role) for prefix, leaf in parts if (role := role_of(leaf)) is not None)
    (prefix, role), most = max(alike.items(), key=itemgetter(1), default=(("", ""), 0))
    if most > MOST_ALIKE:
        name = shown(join(prefix, role))
        raise in_file(file.path, f"{most} tensors in it could be {name}", f"expected {MOST_ALIKE} at most")


def _in_order(plans: Sequence[CallPlan]) -> tuple[CallPlan, ...]:
    """Modules by the first of their calls where the file numbers every call, as an encoder is before its decoder."""
    numbers = [call_number(plan.metadata) for plan in plans]
    first: dict[str, int] = {}
    for plan, number in zip(plans, numbers, strict=True):
        module = without_step(plan.prefix)
        first[module] = min(first.get(module, LAST_CALL), LAST_CALL if number is None else number)
    are_numbered = None not in numbers
    return tuple(
        sorted(plans, key=lambda plan: (first[without_step(plan.prefix)] if are_numbered else 0, _place(plan)))
    )


def _place(plan: CallPlan) -> tuple[int, str, int, str]:
    """Layer, module, step: the steps of a module stand together, the tenth after the ninth."""
    layer = -1 if plan.layer is None else plan.layer
    return layer, without_step(plan.prefix), step_of(plan.prefix), plan.prefix


def _prefixes(calls: Sequence[CallNames]) -> str:
    """The modules of these calls; the steps of one are one."""
    return few(dict.fromkeys(without_step(call.prefix) or "(no prefix)" for call in calls))


def _layers(calls: Sequence[CallNames]) -> str:
    numbers = sorted({call.layer for call in calls if call.layer is not None})
    return f"the layers {few(map(str, numbers), 20)}" if numbers else f"{_prefixes(calls)}, without numbers"
