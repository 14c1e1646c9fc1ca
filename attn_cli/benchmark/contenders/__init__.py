"""Everything that can be timed, by name. Adding one is one file and one entry here."""

from __future__ import annotations

from attn_cli.benchmark.contenders.base import Contender
from attn_cli.benchmark.contenders.flash_attention import FlashAttentionContender
from attn_cli.benchmark.contenders.flex import FlexContender
from attn_cli.benchmark.contenders.inspector import InspectContender
from attn_cli.benchmark.contenders.sdpa import SDPAContender
from attn_cli.benchmark.contenders.textbook import TextbookContender
from attn_cli.benchmark.contenders.xformers import XFormersContender

_ALL: tuple[Contender, ...] = (
    TextbookContender(),
    *(SDPAContender(name) for name in ("sdpa", "flash", "efficient", "cudnn", "math")),
    FlexContender(),
    InspectContender(),
    FlashAttentionContender(),
    XFormersContender(),
)
CONTENDERS: dict[str, Contender] = {contender.name: contender for contender in _ALL}
