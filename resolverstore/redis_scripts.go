package resolverstore

import "github.com/redis/go-redis/v9"

// Each script touches one key, and the channel of the same name. They are called by hash; a server that does not know one, because
// it was restarted or has just been promoted, is sent the text once.
type scripts struct{ commit, touch, lease, index *redis.Script }

func newScripts() scripts {
	return scripts{
		commit: redis.NewScript(commitScript), touch: redis.NewScript(touchScript),
		lease: redis.NewScript(leaseScript), index: redis.NewScript(indexScript),
	}
}

// commitScript is the only one that changes a session. It compares the version that the change was made from, which covers owner
// and epoch too, since no field changes without it. What is deleted goes first: a server whose memory is full lets a script that
// has begun to write go on, so that a session can still be ended.
//
//	KEYS[1]  the session's hash
//	ARGV     expected version ("" none, "?" what has no version), new version, expiry in ms, "clear" or "end" or "",
//	         PUBLISH or SPUBLISH, message, number of fields to delete, these, then field and value in turn
//
// It returns {1} or {0, the version found}.
const commitScript = `
local kind = redis.call('TYPE', KEYS[1]).ok
local version = ''
if kind == 'hash' then version = redis.call('HGET', KEYS[1], 'v') end
if kind ~= 'none' and (not version or version == '') then version = '?' end
if version ~= ARGV[1] then return {0, version} end
if ARGV[4] == 'clear' then redis.call('DEL', KEYS[1]) end
if ARGV[4] == 'end' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
local dels = tonumber(ARGV[7])
for i = 8, 7 + dels, 500 do
  redis.call('HDEL', KEYS[1], unpack(ARGV, i, math.min(i + 499, 7 + dels)))
end
redis.call('HSET', KEYS[1], 'v', ARGV[2])
for i = 8 + dels, #ARGV, 500 do
  redis.call('HSET', KEYS[1], unpack(ARGV, i, math.min(i + 499, #ARGV)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call(ARGV[5], KEYS[1], ARGV[6])
return {1}
`

// touchScript renews a session's expiry, and returns its version, or false. KEYS[1] the hash; ARGV[1] expiry in ms.
const touchScript = `
local version = redis.call('HGET', KEYS[1], 'v')
if version then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return version
`

// leaseScript renews a pod's lease, and returns whether it was there, and the server's time in seconds and microseconds.
// KEYS[1] the lease; ARGV: its value, expiry in ms.
const leaseScript = `
local had = redis.call('PEXPIRE', KEYS[1], ARGV[2])
if had == 0 then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
local now = redis.call('TIME')
return {had, now[1], now[2]}
`

// indexScript adds an id to the index of sessions. KEYS[1] the shard; ARGV: the id, expiry in ms.
const indexScript = `
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`
