"""The Lua scripts with which `store` changes jobs and leases, each atomically."""

from __future__ import annotations

from typing import Final

# The only compare-and-set of jobs: creates, changes and removes them.
# KEYS: job, order, active, counts. ARGV: id, order's member, expected revision (0: none), fence or
# empty, record (empty: remove), state, whether it is over, channel.
SET: Final = """
local revision = tonumber(redis.call('HGET', KEYS[1], 'revision') or '0')
if revision ~= tonumber(ARGV[3]) then return -1 end
if ARGV[4] ~= '' and redis.call('HGET', KEYS[1], 'fence') ~= ARGV[4] then return -2 end
local before = redis.call('HGET', KEYS[1], 'state')
if before then redis.call('HINCRBY', KEYS[4], before, -1) end
if ARGV[5] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('SREM', KEYS[3], ARGV[1])
  return 0
end
redis.call('HINCRBY', KEYS[4], ARGV[6], 1)
redis.call('HSET', KEYS[1], 'record', ARGV[5], 'revision', revision + 1, 'state', ARGV[6])
if revision == 0 then redis.call('ZADD', KEYS[2], 0, ARGV[2]) end
if ARGV[7] == '1' then redis.call('SREM', KEYS[3], ARGV[1])
else redis.call('SADD', KEYS[3], ARGV[1]) end
redis.call('PUBLISH', ARGV[8], ARGV[1])
return revision + 1
"""
# KEYS: job, lease, fence. ARGV: holder, milliseconds. A script that is sent again because its
# answer was lost finds its own lease.
ACQUIRE: Final = """
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'QUEUED' and state ~= 'RUNNING' and state ~= 'CANCELLING' then return -1 end
local holder = redis.call('GET', KEYS[2])
if holder == ARGV[1] then return tonumber(redis.call('HGET', KEYS[1], 'fence')) end
if holder then return -1 end
local fence = redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], 'fence', fence)
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return fence
"""
# KEYS: job, lease. ARGV: fence, holder, milliseconds. A lease that ran out while the broker was
# away is renewed unless another holder had it since.
RENEW: Final = """
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return false end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return redis.call('HGET', KEYS[1], 'state')
"""
RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
