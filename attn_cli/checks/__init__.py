"""The rules of ``attn check``: each looks at one call and says what is wrong, where, why and what to do."""

from __future__ import annotations

from attn_cli.checks.rules.alignment import UndecidedAlignment
from attn_cli.checks.rules.duplicates import Duplicates
from attn_cli.checks.rules.future import FutureLeak
from attn_cli.checks.rules.inactive import Inactive
from attn_cli.checks.rules.inspected import Inspected
from attn_cli.checks.rules.leak import FiniteConstant
from attn_cli.checks.rules.lengths import IdleLengths
from attn_cli.checks.rules.mask_as_bias import MaskAsBias
from attn_cli.checks.rules.mask_axis import MaskAxis
from attn_cli.checks.rules.overflow import Overflow
from attn_cli.checks.rules.padding import PaddingSeen
from attn_cli.checks.rules.polarity import MaskPolarity
from attn_cli.checks.rules.precision import Precision
from attn_cli.checks.rules.recorded import RecordedDisagrees
from attn_cli.checks.rules.saturated import Saturated
from attn_cli.checks.rules.scale import Scale
from attn_cli.checks.rules.uniform import Uniform
from attn_cli.checks.types import Check
from attn_cli.inspection.findings.rules import RULES, UNDECIDED_ALIGNMENT

_ALL: tuple[Check, ...] = (
    *(Inspected(rule) for rule in RULES if rule is not UNDECIDED_ALIGNMENT),
    UndecidedAlignment(),
    RecordedDisagrees(),
    Overflow(),
    MaskPolarity(),
    MaskAsBias(),
    FiniteConstant(),
    FutureLeak(),
    IdleLengths(),
    MaskAxis(),
    Scale(),
    Saturated(),
    Uniform(),
    Inactive(),
    Duplicates(),
    Precision(),
    PaddingSeen(),
)
CHECKS: tuple[Check, ...] = tuple(sorted(_ALL, key=lambda check: check.rule.code))
