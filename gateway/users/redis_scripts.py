"""The scripts that change the user store in Redis, each atomically.

A person is one hash: ``e`` their events and ``i`` the names of these, in the same order, ``n`` how many they are; ``h``
what an import gave, older than all of those, and ``m`` how many they are. Records are as in `redis_records`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

USER_PREFIX = b"twostage:user:"
"""What the key of a person begins with; their id follows."""

EVENTS = "e"
IMPORTED = "h"


@dataclass(frozen=True)
class Script:
    """A script and the name that Redis knows it by once it has seen it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # Redis names scripts by SHA-1; nothing is kept secret by it.
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


_CUT = r"""
-- The records without the oldest so many.
local function cut(records, count)
  local from = 1
  for _ = 1, count do
    from = string.find(records, '\255', from + 1, true)
    if not from then return '' end
  end
  return string.sub(records, from)
end
"""

RECORD = Script(
    _CUT
    + r"""
-- KEYS: people. ARGV: seconds until they are forgotten or 0, how many events each may have; then for each person how
-- many events follow, and of each of these its name, the record of its name and its own record.
local ttl, limit, at, added = tonumber(ARGV[1]), tonumber(ARGV[2]), 3, 0
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE a key of the user store holds something else')
  end
end
for _, key in ipairs(KEYS) do
  local kept = redis.call('HMGET', key, 'e', 'i', 'n', 'h', 'm')
  local events, names, n = kept[1] or '', kept[2] or '', tonumber(kept[3]) or 0
  local imported, m = kept[4], tonumber(kept[5]) or 0
  local count = tonumber(ARGV[at])
  at = at + 1
  local known, searched = {}, false
  if count > 8 then
    -- One pass over all names costs less than a search for each.
    for name in string.gmatch(names, '\255([^\254\255]*)\254') do known[name] = true end
    searched = true
  end
  local new_events, new_names = {}, {}
  for _ = 1, count do
    local name = ARGV[at]
    if not known[name] and (searched or not string.find(names, '\255' .. name .. '\254', 1, true)) then
      new_names[#new_names + 1] = ARGV[at + 1]
      new_events[#new_events + 1] = ARGV[at + 2]
    end
    known[name] = true
    at = at + 3
  end
  if #new_events > 0 then
    events, names = events .. table.concat(new_events), names .. table.concat(new_names)
    n = n + #new_events
    added = added + #new_events
    local over = n + m - limit
    if over > 0 and m > 0 then
      local dropped = math.min(over, m)
      over, m = over - dropped, m - dropped
      if m > 0 then
        redis.call('HSET', key, 'h', cut(imported or '', dropped), 'm', m)
      else
        redis.call('HDEL', key, 'h', 'm')
      end
    end
    if over > 0 then
      events, names, n = cut(events, over), cut(names, over), n - over
    end
    redis.call('HSET', key, 'e', events, 'i', names, 'n', n)
    if ttl > 0 then redis.call('EXPIRE', key, ttl) else redis.call('PERSIST', key) end
  end
end
return added
"""
)

DESCRIBE = Script(r"""
-- KEYS: the person. No transaction: Redis takes none, not even for reading, while its memory is full.
local kept = redis.call('HMGET', KEYS[1], 'h', 'e', 'i')
return {kept[1] or '', kept[2] or '', kept[3] or '', redis.call('PTTL', KEYS[1])}
""")

FORGET = Script(r"""
-- KEYS: the person, the set of those who were forgotten. ARGV: the person's digest.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return -1 end
local count = 0
if kind == 'hash' then
  local counts = redis.call('HMGET', KEYS[1], 'n', 'm')
  count = (tonumber(counts[1]) or 0) + (tonumber(counts[2]) or 0)
end
redis.call('UNLINK', KEYS[1])
-- After the removal: with its memory full Redis lets a script write that has begun to, and none begin with this.
redis.call('SADD', KEYS[2], ARGV[1])
return count
""")

IMPORT = Script(
    _CUT
    + r"""
-- KEYS: the import, the set of those who were forgotten, then people. ARGV: how many people were done before and are
-- after, seconds until people are forgotten or 0, how many events each may have; then for each person their digest,
-- how many events they bring and the records of these. Returns how many events were stored, or -1 when another import
-- came first.
if (redis.call('HGET', KEYS[1], 'people') or '0') ~= ARGV[1] then return -1 end
local ttl, limit, at, stored = tonumber(ARGV[3]), tonumber(ARGV[4]), 5, 0
for number = 3, #KEYS do
  local key, digest, count, records = KEYS[number], ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  at = at + 3
  local kind = redis.call('TYPE', key).ok
  if count > 0 and (kind == 'hash' or kind == 'none') and redis.call('SISMEMBER', KEYS[2], digest) == 0 then
    local room = limit - (tonumber(redis.call('HGET', key, 'n') or 0) or 0)
    if count > room then
      records, count = cut(records, count - room), room
    end
    if count > 0 then
      redis.call('HSET', key, 'h', records, 'm', count)
      if kind == 'none' and ttl > 0 then redis.call('EXPIRE', key, ttl) end
      stored = stored + count
    end
  end
end
redis.call('HSET', KEYS[1], 'people', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'events', stored)
return stored
"""
)
