"""What the pickle of a ``.pt`` file would do, worked out without doing any of it.

A pickle is a program. PyTorch runs the few operations that tensors need (``weights_only=True``), but some of them can
be made to take any amount of memory or time, or to read what is not stored. So the program is followed first with signs
in the place of objects: it may name nothing but what makes tensors, and every tensor has to lie in its storage.

Free of torch.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from attn_cli.inputs.limits import (
    MOST_AXES,
    MOST_CALLS,
    MOST_EXPANSION,
    MOST_NAMES,
    MOST_ODD_KEYS,
    MOST_OPERATIONS,
    MOST_TENSORS,
    REPEATED_FREELY,
)
from attn_cli.inputs.readers.pickle_signs import (
    FARTHEST,
    Bytes,
    Counter,
    Dict,
    Filled,
    List,
    Named,
    RefusedError,
    Sign,
    Storage,
    oddness,
)
from attn_cli.inputs.text import shown

ITEM_SIZES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexDouble": 16, "ComplexFloat": 8, "QInt8": 1, "QUInt8": 1, "QInt32": 4,
}  # fmt: skip
STORAGES = {f"torch.{name}Storage": size for name, size in ITEM_SIZES.items()} | {"torch.storage.UntypedStorage": 1}
BITS = {
    **{f"torch.{kind}{bits}": bits for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"torch.float{bits}": bits for bits in (16, 32, 64)},
    **{f"torch.float8_{kind}": 8 for kind in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu")},
    **{"torch.bfloat16": 16, "torch.bool": 8, "torch.complex32": 32, "torch.complex64": 64, "torch.complex128": 128},
}
TYPES = frozenset(["torch.Tensor", "torch.nn.parameter.Parameter"])
FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
TENSORS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
OTHERS = {
    f"torch._utils._rebuild_{what}"
    for what in ("parameter", "parameter_with_state", "sparse_tensor", "meta_tensor_no_storage")
}
PLAIN = {"torch.Size": "size", "torch.device": "device", "torch.serialization._get_layout": "layout"}
DEVICE = re.compile(r"(cpu|cuda|hip|hpu|ipu|lazy|maia|meta|mps|mtia|vulkan|xla|xpu)(:(0|[1-9][0-9]?))?")
SPARSE = [f"torch.sparse_{kind}" for kind in ("coo", "csr", "csc", "bsr", "bsc")]
LAYOUTS = frozenset(["torch.strided", "torch.jagged", "torch._mkldnn", *SPARSE])
ORDERED, COUNTER = "collections.OrderedDict", "collections.Counter"
SET, COMPLEX, BYTEARRAY, ENCODE = "builtins.set", "builtins.complex", "builtins.bytearray", "_codecs.encode"
VALUES = frozenset([ORDERED, COUNTER, SET, COMPLEX, BYTEARRAY, ENCODE])
LATIN = ("latin1", "latin-1")
QUANTIZED = "torch._utils._rebuild_qtensor"
PER_TENSOR = "torch.per_tensor_affine"
PER_CHANNEL = frozenset(["torch.per_channel_affine", "torch.per_channel_affine_float_qparams"])
KNOWN = TENSORS | OTHERS | PLAIN.keys() | TYPES | STORAGES.keys() | BITS.keys() | VALUES | PER_CHANNEL
KNOWN |= {FROM_TYPE, QUANTIZED, PER_TENSOR}
BYTES_CHARGED = 16  # bytes of a text that is encoded, for one operation
LAST_SHORT_PLACE = 255  # where an operation of two bytes keeps what is needed again

OBJECT, TENSOR, MARK = Sign(), Sign(), Sign()
SIGNS: dict[str, Any] = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "EMPTY_SET": OBJECT,
    "MARK": MARK,
}  # fmt: skip
LITERALS = frozenset(["BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"])
TUPLES = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}  # how many items they take; None: above the mark
FILLING = {"APPEND": 1, "APPENDS": None, "SETITEM": 2, "SETITEMS": None}


@dataclass
class PickleProgram:
    """Follows pickles one after the other.

    Attributes:
        storages: by key, in the order in which the program asks for them.
    """

    storages: dict[str, Storage] = field(default_factory=dict)
    _stack: list[Any] = field(default_factory=list)
    _memo: dict[int, Any] = field(default_factory=dict)
    _count: int = 0
    _calls: int = 0
    _tensors: int = 0
    _odd_keys: float = 0

    def follow(self, stream: BinaryIO) -> None:
        """Follow the pickle that the stream stands at, which is left behind its end.

        Raises:
            RefusedError: where it would do what it must not.
            ValueError: where it is no pickle.
        """
        self._stack, self._memo = [], {}
        try:
            for operation, argument, _ in pickletools.genops(stream):
                self._charge(1)
                self._do(operation.name, argument)
        except (IndexError, KeyError) as error:
            raise ValueError("a pickle that takes what is not there") from error

    def _charge(self, operations: int) -> None:
        self._count += operations
        if self._count > MOST_OPERATIONS:
            raise RefusedError(f"takes more than {MOST_OPERATIONS} operations")

    def _count_call(self) -> None:
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise RefusedError(f"makes more than {MOST_CALLS} tensors, storages and other objects")

    def _count_tensor(self) -> None:
        self._tensors += 1
        if self._tensors > MOST_TENSORS:
            raise RefusedError(f"makes more than {MOST_TENSORS} tensors, a parameter counted twice")

    def _charge_filling(self, source: Filled) -> None:
        """Something is filled with all of its items, each of which has to be found by its hash."""
        self._charge(source.items)
        self._count_odd(source.odd)

    def _count_odd(self, keys: float) -> None:
        if keys == math.inf:
            raise RefusedError("has keys that are no plain values")
        self._odd_keys += keys
        if self._odd_keys > MOST_ODD_KEYS:
            plain = f"neither texts nor whole numbers from 0 to {MOST_NAMES - 1}, a tuple counted with its items"
            raise RefusedError(f"has more than {MOST_ODD_KEYS} keys that are {plain}")

    def _do(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "STOP":
                pass
            case "GLOBAL":
                self._global(argument)
            case "BINPUT" | "LONG_BINPUT":
                self._remember(argument)
            case "REDUCE":
                self._reduce()
            case "BUILD":
                self._build()
            case _ if name in TUPLES:
                self._stack.append(tuple(self._taken(TUPLES[name])))
            case _ if name in FILLING:
                self._fill(name, self._taken(FILLING[name]))
            case _:
                self._stack.append(self._pushed(name, argument))

    def _remember(self, place: int) -> None:
        """Places are counted up, as all writers do: numbers of one's choice may take long to be found again."""
        if place > max(LAST_SHORT_PLACE, len(self._memo)):
            raise RefusedError(f"keeps something in place {place} before others")
        self._memo[place] = self._stack[-1]

    def _fill(self, name: str, items: list[Any]) -> None:
        """Put items into the list or the dict at the top of the stack."""
        target = self._stack[-1]
        if not isinstance(target, Dict if name.startswith("SETITEM") else List):
            raise RefusedError("puts items into what does not take them")
        keys = items[::2] if name.startswith("SETITEM") else items
        self._charge(sum(min(len(key), MOST_AXES) for key in keys if isinstance(key, tuple)))
        odd = sum(map(oddness, keys))
        if name.startswith("SETITEM"):
            self._count_odd(odd)
        target.items += len(items)
        target.odd += odd

    def _pushed(self, name: str, argument: Any) -> Any:
        """What an operation puts on the stack that depends on nothing there but a storage's key."""
        match name:
            case "BINGET" | "LONG_BINGET":
                return self._memo[argument]
            case "BINPERSID":
                return self._storage(self._stack.pop())
            case "EMPTY_DICT":
                return Dict()
            case "EMPTY_LIST":
                return List()
            case _ if name in LITERALS:
                return argument
            case _ if name in SIGNS:
                return SIGNS[name]
        raise RefusedError(f"has the operation {name}")

    def _global(self, argument: str) -> None:
        name = argument.replace(" ", ".").replace("__builtin__.", "builtins.", 1)  # as Python 2 had it
        if name not in KNOWN:
            raise RefusedError(f"names {shown(name)}")
        self._stack.append(Named(name))

    def _taken(self, count: int | None) -> list[Any]:
        """So many items off the top of the stack, or those above the mark."""
        place = len(self._stack) - (count or 0)
        while count is None:
            place -= 1
            if self._stack[place] is MARK:
                break
            if place <= 0:
                raise IndexError
        items = self._stack[place + (count is None) :]
        if place < 0 or (count is not None and any(item is MARK for item in items)):
            raise IndexError
        del self._stack[place:]
        return items

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise RefusedError("calls what is no function")
        self._stack.append(self._called(function.name, arguments))

    def _called(self, name: str, arguments: tuple[Any, ...]) -> Sign:
        self._count_call()
        if name in VALUES:
            return self._value(name, arguments)
        if name in PLAIN:
            return _description(name, arguments)
        self._count_tensor()
        if name == FROM_TYPE and len(arguments) == 4:
            function, kind, inner, state = arguments
            if isinstance(function, Named) and isinstance(kind, Named) and kind.name in TYPES:
                self._take_state(state)
                return self._called(function.name, inner if isinstance(inner, tuple) else ())
        if name in TENSORS and len(arguments) >= 4:
            _check_tensor(name, arguments)
            return TENSOR
        if name == QUANTIZED and len(arguments) == 7:
            self._quantized(arguments)
            return TENSOR
        if name in OTHERS:
            for argument in arguments[3:]:
                self._take_state(argument)
            return TENSOR
        raise RefusedError(f"calls {name} in a way that makes no tensor")

    def _value(self, name: str, arguments: tuple[Any, ...]) -> Sign:
        """A plain value that a pickle makes by a call."""
        match name, arguments:
            case ("collections.OrderedDict", ()):
                return Dict()
            case ("collections.Counter", ()):
                return Counter()
            case ("collections.Counter", (Dict() as source,)):
                self._charge_filling(source)
                return Counter(source.items, source.odd)
            case ("builtins.set", (List() as source,)):
                self._charge_filling(source)
                return OBJECT
            case ("builtins.complex", (int() | float(), int() | float())) | ("builtins.bytearray", ()):
                return OBJECT
            case ("_codecs.encode", (str(text), str(encoding))) if encoding in LATIN:
                self._charge(len(text) // BYTES_CHARGED)
                return Bytes(len(text))
            case ("builtins.bytearray", (Bytes(size=size),)):
                self._charge(size // BYTES_CHARGED)
                return OBJECT
        raise RefusedError(f"calls {name} in a way that makes no plain value")

    def _quantized(self, arguments: tuple[Any, ...]) -> None:
        """PyTorch asks for the memory of the shape, and keeps a copy of the scales of each channel."""
        _check_tensor(QUANTIZED, arguments)
        storage, _, shape = arguments[:3]
        if math.prod(shape) * storage.item_size > storage.size:
            raise RefusedError("makes a quantized tensor that repeats numbers")
        match arguments[4]:
            case (Named("torch.per_tensor_affine"), int() | float(), int()):
                return
            case (Named(scheme), Sign(), Sign(), int(axis)) if scheme in PER_CHANNEL and 0 <= axis < len(shape):
                self._charge(shape[axis])
                return
        raise RefusedError("makes a quantized tensor by no scheme that there is")

    def _build(self) -> None:
        self._count_call()
        self._take_state(self._stack.pop())
        if not isinstance(self._stack[-1], Dict) or isinstance(self._stack[-1], Counter):
            raise RefusedError("sets the state of an object")

    def _take_state(self, state: Any) -> None:
        """The attributes of an object are filled from a dict, which costs as much as it has items."""
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, Dict):
                self._charge_filling(part)
            elif part is not None and part is not True and part is not False:
                raise RefusedError("gives an object a state that is no dict")

    def _storage(self, wanted: Any) -> Storage:
        self._count_call()
        match wanted:
            case ("storage", Named(name), str(key), str(), int(count)) if name in STORAGES:
                found = Storage(key, count * STORAGES[name], STORAGES[name])
            case ("storage", Named(name), str(key), str(), int(count), None) if name in STORAGES:
                found = Storage(key, count * STORAGES[name], STORAGES[name])
            case _:
                raise RefusedError("asks for what is no storage of a tensor")
        if not 0 <= found.size < FARTHEST or self.storages.setdefault(key, found).size != found.size:
            raise RefusedError(f"gives the storage {shown(key)} sizes that cannot be")
        return found


def _description(name: str, arguments: tuple[Any, ...]) -> Sign:
    """What a tensor has besides its numbers. It is the same on every machine: no device is looked for."""
    match name, arguments:
        case ("torch.Size", (tuple(sizes),)) if len(sizes) <= MOST_AXES:
            if all(type(size) is int and abs(size) < FARTHEST for size in sizes):
                return OBJECT
        case ("torch.device", (str(device),)) if DEVICE.fullmatch(device):
            return OBJECT
        case ("torch.device", (str(kind), int(number))) if DEVICE.fullmatch(f"{kind}:{number}"):
            return OBJECT
        case ("torch.serialization._get_layout", (str(layout),)) if layout in LAYOUTS:
            return OBJECT
    raise RefusedError(f"calls {name} in a way that makes no {PLAIN[name]}")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < FARTHEST


def _check_tensor(name: str, arguments: tuple[Any, ...]) -> None:
    """Refuse a tensor that reaches out of its storage."""
    storage, offset, shape, strides = arguments[:4]
    has_axes = all(isinstance(one, tuple) and len(one) <= MOST_AXES for one in (shape, strides))
    if not isinstance(storage, Storage) or not has_axes or len(shape) != len(strides):
        raise RefusedError("makes a tensor of what is no shape")
    if not all(map(_is_size, (offset, *shape, *strides))):
        raise RefusedError("makes a tensor of what is no shape")
    dtype = arguments[6] if name.endswith("_v3") and len(arguments) > 6 else None
    item_size = BITS.get(dtype.name, 0) // 8 if isinstance(dtype, Named) else storage.item_size
    if item_size == 0:
        raise RefusedError("makes a tensor of what is no dtype")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 not in shape and (last + 1) * item_size > storage.size:
        found = f"{shape} with the strides {strides} from number {offset} on"
        raise RefusedError(f"makes a tensor {found}, in a storage of {storage.size // item_size} numbers")
    whole = math.prod(shape) * item_size
    if whole > max(REPEATED_FREELY, MOST_EXPANSION * storage.size):
        raise RefusedError(f"makes a tensor {shape} out of {storage.size} bytes, by strides of 0 or that overlap")
