"""A recording that keeps its calls in memory."""

from dataclasses import replace

from attn_cli.recording.options import RecordOptions
from attn_cli.recording.recorder import Recorder
from attn_cli.recording.swapping.patching import listening


class Kept(list):
    """A sink with room for ``room`` calls, or for all."""

    def __init__(self, room=None):
        super().__init__()
        self.room = room

    def take(self, call):
        if self.room is not None and len(self) >= self.room:
            return False
        self.append(_copied(call))
        return True


def _copied(call):
    """A program may write over its tensors as soon as its call is over, as compiled code does."""
    inputs = replace(call.inputs, **{name: getattr(call.inputs, name).clone() for name in ("q", "k", "v")})
    output, weights = (None if tensor is None else tensor.clone() for tensor in (call.output, call.weights))
    return replace(call, inputs=inputs, output=output, weights=weights)


def recorded(run, room=None, **options):
    """What ``run`` gave, the calls that were kept, and what was heard."""
    kept = Kept(room)
    recorder = Recorder(RecordOptions(**options), kept)
    with listening(recorder):
        result = run()
    return result, kept, recorder.heard


def weights_of(call):
    """The attention weights of a caught call, as the textbook has them."""
    from attn_cli.attention import textbook

    return textbook.attend(call.inputs).weights
