"""Write a plan as an ONNX graph in which like operations share a node.

A node costs a third of a microsecond whatever it does to one row, so scalars of the same depth and operation are
computed side by side as the columns of one tensor: twelve logarithms cost what one costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kaizen.core.records import Column
from kaizen.features.declare import Expression
from kaizen.features.lower import Argument, Scalar
from kaizen.features.steps import step
from kaizen.features.strings import encode
from kaizen.features.times import parts
from kaizen.graph.build import ML, Builder, attribute_tensor, whole_packets
from kaizen.graph.frame import MISSING_TIME, grouped

_DTYPES = {"numbers": np.float64, "times": np.int64, "strings": np.object_}
_DOUBLE, _INT64 = 11, 7
_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "min": "Min", "max": "Max"}
_UNARY = {"neg": "Neg", "abs": "Abs", "sqrt": "Sqrt"}
_GRAIN = 2.0**40  # parts of 1 that a sine or cosine is rounded to
_COMPARISONS = {"gt": "Greater", "ge": "GreaterOrEqual", "equal": "Equal"}


class Emitter:
    """Writes scalars into one graph. Made for one graph, used once.

    Parameters
    ----------
    inputs
        The raw columns that the graph reads.
    time_zone
        Of calendar parts.
    """

    def __init__(self, inputs: Sequence[Column], time_zone: str) -> None:
        self.graph = Builder("features")
        self._zone = time_zone
        self._groups = grouped(inputs)
        self._position = {c.name: at for members in self._groups.values() for at, c in enumerate(members)}
        for name, members in self._groups.items():
            self.graph.input(name, _DTYPES[name], len(members))
        self._places: dict[int, tuple[str, int]] = {}  # scalar: tensor and column
        self._widths: dict[str, int] = {}

    def write(self, outputs: Sequence[Scalar]) -> bytes:
        """Return the graph whose output `features`, double [n, k], has these scalars as columns."""
        batches: dict[tuple[object, ...], list[Scalar]] = {}
        for scalar in sorted(_needed(outputs), key=lambda s: (s.depth, s.number)):
            shape = tuple(isinstance(arg, Scalar) for arg in scalar.args)
            batches.setdefault((scalar.depth, scalar.op, scalar.group, shape), []).append(scalar)
        for batch in batches.values():
            self._emit(batch)
        self.graph.output("features", self._gather(outputs), np.float64, len(outputs))
        return self.graph.to_bytes()

    def string(self, e: Expression) -> str:
        """Return the string tensor [n, 1] of a column or a cross."""
        if e.op == "col":
            at = self._position[str(e.args[0])]
            if len(self._groups["strings"]) == 1:
                return "strings"
            return self.graph.node("Gather", "strings", self.graph.constant(np.array([at])), axis=1)
        tensors = [self.string(part) for part in e.args if isinstance(part, Expression)]
        joined = tensors[0]
        for tensor in tensors[1:]:
            left = self.graph.node("StringConcat", joined, self.graph.constant(["\x1f"]))
            joined = self.graph.node("StringConcat", left, tensor)
        return joined

    def _emit(self, batch: list[Scalar]) -> None:
        op = batch[0].op
        if op in ("number", "us"):
            self._emit_raw(batch)
        elif op in _BINARY:
            self._keep(batch, self.graph.node(_BINARY[op], self._args(batch, 0), self._args(batch, 1)))
        elif op in _UNARY:
            self._keep(batch, self.graph.node(_UNARY[op], self._args(batch, 0)))
        elif op in _COMPARISONS:
            self._keep(batch, self._compared(op, self._args(batch, 0), self._args(batch, 1)))
        else:
            getattr(self, f"_{op}")(batch)

    def _keep(self, batch: list[Scalar], tensor: str, width: int | None = None) -> None:
        self._widths[tensor] = width or len(batch)
        for at, scalar in enumerate(batch):
            self._places[scalar.number] = (tensor, at)

    def _args(self, batch: list[Scalar], at: int, *, padded: bool = False) -> str:
        """Return the arguments of a batch at one position as the columns of a tensor, or as a constant row."""
        values: list[Argument] = [scalar.args[at] for scalar in batch]
        scalars = [value for value in values if isinstance(value, Scalar)]
        if not scalars:
            return self.graph.constant(np.array(values, np.float64))
        return self._gather([scalars[i] for i in whole_packets(len(scalars))] if padded else scalars)

    def _gather(self, scalars: Sequence[Scalar]) -> str:
        places = [self._places[scalar.number] for scalar in scalars]
        tensors = list(dict.fromkeys(tensor for tensor, _ in places))
        starts = np.cumsum([0, *(self._widths[tensor] for tensor in tensors)])
        index = [int(starts[tensors.index(tensor)]) + at for tensor, at in places]
        together = tensors[0] if len(tensors) == 1 else self.graph.node("Concat", *tensors, axis=1)
        if index == list(range(int(starts[-1]))):
            return together
        return self.graph.node("Gather", together, self.graph.constant(np.array(index)), axis=1)

    def _emit_raw(self, batch: list[Scalar]) -> None:
        tensor = "numbers" if batch[0].op == "number" else self._times_or_nan()
        self._widths[tensor] = len(self._groups["numbers" if batch[0].op == "number" else "times"])
        for scalar in batch:
            self._places[scalar.number] = (tensor, self._position[scalar.payload])

    def _times(self) -> str:
        return self.graph.node("Cast", "times", to=_DOUBLE)

    def _times_or_nan(self) -> str:
        is_missing = self.graph.node("Equal", "times", self.graph.constant(np.array([MISSING_TIME])))
        return self.graph.node("Where", is_missing, self.graph.constant(np.array([np.nan])), self._times())

    def _part(self, batch: list[Scalar]) -> None:
        wanted = [(self._position[scalar.payload[0]], scalar.payload[1]) for scalar in batch]
        self._keep(batch, parts(self.graph, self._times(), wanted, self._zone, len(self._groups["times"])))

    def _table(self, batch: list[Scalar]) -> None:
        if batch[0].group == "strings":
            tables = [(self._position[str(s.payload[0].args[0])], s.payload[1]) for s in batch]
            answers = encode(self.graph, "strings", len(self._groups["strings"]), tables)
        else:
            tables = [(0, s.payload[1]) for s in batch]
            answers = encode(self.graph, self.string(batch[0].payload[0]), 1, tables)
        self._keep(batch, answers)

    def _same(self, batch: list[Scalar]) -> None:
        for scalar in batch:
            left, right = scalar.payload
            equal = self.graph.node("Equal", self.string(left), self.string(right))
            self._keep([scalar], self.graph.node("Cast", equal, to=_DOUBLE))

    def _encode(self, batch: list[Scalar]) -> None:
        for scalar in batch:
            keys, values, default = scalar.payload
            encoded = self.graph.node(
                "LabelEncoder",
                self._args([scalar], 0),
                domain=ML,
                keys_tensor=attribute_tensor("keys", np.array(keys, np.float64)),
                values_tensor=attribute_tensor("values", np.array(values, np.float64)),
                default_tensor=attribute_tensor("default", np.array([default])),
            )
            self._keep([scalar], encoded)

    def _words(self, batch: list[Scalar]) -> None:
        for scalar in batch:
            self._keep([scalar], self.counts_of_words(scalar.payload[0]))

    def _word(self, batch: list[Scalar]) -> None:
        known = [scalar.payload[1] for scalar in batch]
        ids = self.graph.node(
            "LabelEncoder",
            self.tokens(batch[0].payload[0]),
            domain=ML,
            keys_tensor=attribute_tensor("keys", known),
            values_tensor=attribute_tensor("values", np.arange(1, len(known) + 1)),
            default_tensor=attribute_tensor("default", np.array([0])),
        )
        counts = self.graph.node(
            "TfIdfVectorizer",
            ids,
            mode="TF",
            min_gram_length=1,
            max_gram_length=1,
            max_skip_count=0,
            ngram_counts=[0],
            ngram_indexes=list(range(len(known))),
            pool_int64s=list(range(1, len(known) + 1)),
        )
        self._keep(batch, self.graph.node("Cast", counts, to=_DOUBLE))

    def tokens(self, e: Expression) -> str:
        """Return the words of a text, string [n, most words + 1]; the last word is a mark, so none is never empty."""
        tokens, _ = self.graph.nodes("StringSplit", self._marked(e), outputs=2)
        return self.graph.node("Reshape", tokens, self.graph.constant(np.array([0, -1])))

    def counts_of_words(self, e: Expression) -> str:
        """Return how many words a text has, double [n, 1]."""
        _, counts = self.graph.nodes("StringSplit", self._marked(e), outputs=2)
        column = self.graph.node("Reshape", counts, self.graph.constant(np.array([-1, 1])))
        return self.graph.node("Sub", self.graph.node("Cast", column, to=_DOUBLE), self.graph.constant(np.array([1.0])))

    def _marked(self, e: Expression) -> str:
        flat = self.graph.node("Reshape", self.string(e), self.graph.constant(np.array([-1])))
        return self.graph.node("StringConcat", flat, self.graph.constant([" \x1f"]))

    def _div(self, batch: list[Scalar]) -> None:
        self._keep(batch, self._finite(self.graph.node("Div", self._args(batch, 0), self._args(batch, 1))))

    def _part_of(self, batch: list[Scalar]) -> None:
        self._keep(batch, self.graph.node("Div", self._args(batch, 0), self._args(batch, 1)))

    def _finite_only(self, batch: list[Scalar]) -> None:
        self._keep(batch, self._finite(self._args(batch, 0)))

    def _log(self, batch: list[Scalar]) -> None:
        self._transcendental("Log", batch)

    def _exp(self, batch: list[Scalar]) -> None:
        self._transcendental("Exp", batch)

    def _transcendental(self, op: str, batch: list[Scalar]) -> None:
        wide = self.graph.node(op, self._args(batch, 0, padded=True))
        self._keep(batch, self._finite(wide), len(whole_packets(len(batch))))

    def _wave(self, batch: list[Scalar]) -> None:
        places = whole_packets(len(batch))
        scale = self.graph.constant(np.array([batch[i].payload[0] for i in places]))
        phase = self.graph.constant(np.array([batch[i].payload[1] for i in places]))
        angle = self.graph.node("Add", self.graph.node("Mul", self._args(batch, 0, padded=True), scale), phase)
        # Equal angles of different months give sines that differ in the last bit, and a tree would split between them;
        # another processor's Sin would then take other turns. Rounded, what is equal is equal everywhere.
        shifted = self.graph.node("Mul", self.graph.node("Sin", angle), self.graph.constant(np.array([_GRAIN])))
        rounded = self.graph.node("Div", self.graph.node("Round", shifted), self.graph.constant(np.array([_GRAIN])))
        self._keep(batch, rounded, len(places))

    def _step(self, batch: list[Scalar]) -> None:
        values = self._args(batch, 0)
        found = step(self.graph, values, [(at, scalar.payload) for at, scalar in enumerate(batch)])
        self._keep(batch, self.graph.node("Add", found, self._nan_or_zero(values)))

    def _compared(self, op: str, left: str, right: str) -> str:
        answer = self.graph.node("Cast", self.graph.node(_COMPARISONS[op], left, right), to=_DOUBLE)
        return self.graph.node("Add", answer, self._nan_or_zero(self.graph.node("Sub", left, right)))

    def _is(self, batch: list[Scalar]) -> None:
        equal = self.graph.node("Equal", self._args(batch, 0), self._args(batch, 1))
        self._keep(batch, self.graph.node("Cast", equal, to=_DOUBLE))

    def _flip(self, batch: list[Scalar]) -> None:
        self._keep(batch, self.graph.node("Sub", self.graph.constant(np.array([1.0])), self._args(batch, 0)))

    def _scale(self, batch: list[Scalar]) -> None:
        # Clipped far out, so that no finite value overflows: a dense matrix has no NaN.
        mean, deviation = (self.graph.constant(np.array([s.payload[i] for s in batch])) for i in (0, 1))
        scaled = self.graph.node("Div", self.graph.node("Sub", self._args(batch, 0), mean), deviation)
        low, high = (self.graph.constant(np.array([bound])) for bound in (-1e15, 1e15))
        self._keep(batch, self.graph.node("Min", self.graph.node("Max", scaled, low), high))

    def _where(self, batch: list[Scalar]) -> None:
        condition = self._args(batch, 0)
        is_false = self.graph.node("Equal", condition, self.graph.constant(np.array([0.0])))
        chosen = self.graph.node("Where", is_false, self._args(batch, 2), self._args(batch, 1))
        self._keep(batch, self.graph.node("Add", chosen, self._nan_or_zero(condition)))

    def _is_missing(self, batch: list[Scalar]) -> None:
        self._keep(batch, self.graph.node("Cast", self.graph.node("IsNaN", self._args(batch, 0)), to=_DOUBLE))

    def _fill(self, batch: list[Scalar]) -> None:
        values = self._args(batch, 0)
        self._keep(batch, self.graph.node("Where", self.graph.node("IsNaN", values), self._args(batch, 1), values))

    def _nan_or_zero(self, values: str) -> str:
        """Return 0 for what is finite and NaN for what is not: x - x."""
        return self.graph.node("Sub", values, values)

    def _finite(self, values: str) -> str:
        return self.graph.node("Add", values, self._nan_or_zero(values))


def _needed(outputs: Sequence[Scalar]) -> list[Scalar]:
    found: dict[int, Scalar] = {}
    waiting = list(outputs)
    while waiting:
        scalar = waiting.pop()
        if scalar.number not in found:
            found[scalar.number] = scalar
            waiting += [arg for arg in scalar.args if isinstance(arg, Scalar)]
    return list(found.values())
