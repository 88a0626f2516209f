"""What waits in a Redis that is a broker, and what its workers hold: read from the keys that kombu's transport keeps.

A queue is a list, one more for each priority but the first (`mail`, `mail\\x06\\x163` …), and there only while
something waits in it. That it was declared stays in a set for each exchange, `_kombu.binding.EXCHANGE`, whose members
are routing key, pattern and queue. What a worker has taken and not acknowledged is in one hash for all queues,
`unacked`, by delivery tag, as JSON: the message, its exchange, its routing key. A project may put one prefix before all
names, and name that hash as it likes, so it is told by what it holds. (kombu.transport.redis, read in 5.7.)

One script reads all of that at one moment. Between two of kombu's own steps, taking a message off its list and putting
it into the hash, it is in neither: for less than a millisecond nobody has it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bisect_celery.model import QueueCount

SEPARATOR = "\x06\x16"
BINDINGS = "_kombu.binding."
# More than exchange and routing key with their quotes ever take.
_TAIL = 1024

# Of each list its name, length, and whether it holds messages; of each set of bindings its members; of the hash with
# what is unacknowledged the ends of its values, where exchange and routing key stand.
SCRIPT = f"""
local found, seen = {{}}, {{}}
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local kind = not seen[key] and redis.call('TYPE', key)['ok']  -- a scan may bring a key twice
    seen[key] = true
    if kind == 'list' then
      local first = redis.call('LINDEX', key, 0) or ''
      local told = string.find(first, '"properties"', 1, true) and string.find(first, '"body"', 1, true)
      found[#found + 1] = {{'list', key, redis.call('LLEN', key), told and 1 or 0}}
    elseif kind == 'set' and string.find(key, '{BINDINGS}', 1, true) then
      found[#found + 1] = {{'set', key, redis.call('SMEMBERS', key)}}
    elseif kind == 'hash' then
      local first = redis.call('HSCAN', key, '0', 'COUNT', 1)[2][2] or ''
      if string.sub(first, 1, 2) == '[{{' and string.find(first, '"properties"', 1, true) then
        local ends = {{}}
        for _, value in ipairs(redis.call('HVALS', key)) do ends[#ends + 1] = string.sub(value, -{_TAIL}) end
        found[#found + 1] = {{'hash', key, ends}}
      end
    end
  end
until cursor == '0'
return found
"""

_STRING = r'"(?:[^"\\]|\\.)*"|null'
_ADDRESS = re.compile(rf"({_STRING}),\s*({_STRING})\]$")


@dataclass(frozen=True)
class Binding:
    """A queue that gets what is sent to an exchange with a routing key, or one that a pattern matches."""

    key: str
    pattern: str
    queue: str

    def takes(self, key: str) -> bool:
        if self.pattern:
            try:
                return re.match(self.pattern, key) is not None
            except re.error:
                return False
        return self.key == key


def counted(found: Iterable[Sequence[object]]) -> tuple[QueueCount, ...]:
    """Every queue with its counts, sorted by name, of what `SCRIPT` returned (texts as UTF-8 bytes)."""
    lists: dict[str, tuple[int, bool]] = {}
    sets: dict[str, list[str]] = {}
    ends: list[str] = []
    for kind, key, *rest in found:
        name = _text(key)
        if kind == b"list":
            lists[name] = (int(rest[0]), bool(rest[1]))  # type: ignore[call-overload]
        elif kind == b"set":
            sets[name] = [_text(member) for member in rest[0]]  # type: ignore[attr-defined]
        else:
            ends += [_text(value) for value in rest[0]]  # type: ignore[attr-defined]
    prefix = next((name.partition(BINDINGS)[0] for name in sorted(sets)), "")
    bound = {name.partition(BINDINGS)[2]: _bindings(members) for name, members in sets.items()}
    known = {one.queue for bindings in bound.values() for one in bindings}
    ready: Counter[str] = Counter()
    for name, (length, told) in lists.items():
        queue = name.removeprefix(prefix).rsplit(SEPARATOR, 1)[0]
        if told or queue in known:
            ready[queue] += length
    unacked = Counter(_queue_of(end, bound) for end in ends)
    names = sorted(known | set(ready) | set(unacked))
    return tuple(QueueCount(name, ready[name], unacked[name], durable=True) for name in names)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bindings(members: Iterable[str]) -> list[Binding]:
    parts = (member.split(SEPARATOR) for member in sorted(members))
    return [Binding(*one) for one in parts if len(one) == 3]


def _queue_of(end: str, bound: dict[str, list[Binding]]) -> str:
    """The queue that a message was taken from; where several get what is sent so, the first of them, by name."""
    address = _ADDRESS.search(end)
    exchange, key = (json.loads(part) or "" for part in address.groups()) if address else ("", "")
    if not exchange:
        return str(key)
    fitting = sorted(one.queue for one in bound.get(exchange, ()) if one.takes(key))
    return fitting[0] if fitting else str(key or exchange)
