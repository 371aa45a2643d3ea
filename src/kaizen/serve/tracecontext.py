"""W3C Trace Context: what a caller says of the trace that its request belongs to.

    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
                 version · trace id · the caller's span · flags, of which bit 0 says "sampled"
    tracestate:  vendor=value,other=value           for the vendors, passed on as it is

Each request has headers of its own here, so they are cut out before a head is looked up by its bytes.

Source: W3C Recommendation Trace Context, Level 1 (2021), section 3.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

Trace: TypeAlias = "tuple[bytes, bytes]"  # the values of traceparent and tracestate as they came

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_LEFT_OUT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
_END: Final = rb"(?=\r\n[^ \t])"  # a line that begins with a blank would go on with this one
_PARENT_LINE: Final = re.compile(rb"\r\n[Tt]raceparent: ([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})" + _END)
_STATE_LINE: Final = re.compile(rb"\r\n[Tt]racestate: ([\x20-\x7e]*)" + _END)
_KEY: Final = r"[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
_VALUE: Final = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER: Final = re.compile(rf"({_KEY})=({_VALUE})")
_MEMBERS: Final = 32


class Parent(NamedTuple):
    """The span of the caller."""

    trace_id: int
    span_id: int
    flags: int

    @property
    def is_sampled(self) -> bool:
        """Whether the caller records its part of the trace."""
        return bool(self.flags & 1)


def parent_of(value: bytes) -> Parent | None:
    """Return the parent that a `traceparent` names, None if it is not valid: then the trace begins here."""
    match = _PARENT.fullmatch(value.strip(b" \t"))
    if match is None or match[1] == b"ff" or (match[1] == b"00" and match[5] is not None):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    return Parent(trace_id, span_id, int(match[4], 16)) if trace_id and span_id else None


def is_left_out(value: bytes) -> bool:
    """Say at once that a `traceparent` is valid and not sampled, which most are; False leaves it open."""
    return _LEFT_OUT.fullmatch(value) is not None


def state_of(value: bytes) -> list[tuple[str, str]]:
    """Return the members of a `tracestate`, in order; none of them if it is not valid."""
    members: dict[str, str] = {}
    for text in value.decode("latin-1").split(","):
        member = text.strip(" \t")
        if not member:
            continue
        match = _MEMBER.fullmatch(member)
        if match is None or match[1] in members or len(members) == _MEMBERS:
            return []
        members[match[1]] = match[2]
    return list(members.items())


def without_trace(raw: bytes) -> tuple[bytes, Trace | None]:
    """Return a head's bytes without its trace, and the trace, None if there is none that is plainly one.

    What is cut out is a whole line of letters that cannot end it, so the rest means what it meant before.
    """
    found = _PARENT_LINE.search(raw)
    if found is None:
        return raw, None
    rest = raw[: found.start()] + raw[found.end() :]
    state = _STATE_LINE.search(rest)
    if state is None:
        return rest, (found[1], b"")
    return rest[: state.start()] + rest[state.end() :], (found[1], state[1])


def taken_from(headers: dict[bytes, bytes]) -> Trace | None:
    """Return the trace of parsed headers, and leave them without it."""
    state = headers.pop(b"tracestate", b"")
    parent = headers.pop(b"traceparent", None)
    return None if parent is None else (parent, state)


def joined(name: bytes, first: bytes, second: bytes) -> bytes:
    """Return the one value of a header that came twice: two parents are none, states follow one another."""
    if name == b"tracestate":
        return first + b"," + second
    return b"" if name == b"traceparent" else second
