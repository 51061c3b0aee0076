package resolverstore

import "github.com/redis/go-redis/v9"

// Each script touches one key, and the channel of the same name. They are called by hash; a server that does not know one, because
// it was restarted or has just been promoted, is sent the text once.
type scripts struct{ commit, drop, lease *redis.Script }

func newScripts() scripts {
	return scripts{
		commit: redis.NewScript(commitScript), drop: redis.NewScript(dropScript), lease: redis.NewScript(leaseScript),
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

// dropScript forgets a session, unless it has changed. KEYS[1] the hash; ARGV[1] its version.
const dropScript = `
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`

// leaseScript renews a pod's lease, and returns whether it was there, the server's time in seconds and microseconds, and which run of
// the server this is, if the user may know. Memory that is full does not stop it: see commitScript.
// KEYS[1] the lease; ARGV: its value, expiry in ms.
const leaseScript = `
local had = redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local now = redis.call('TIME')
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
return {had, now[1], now[2], run}
`
