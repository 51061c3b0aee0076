package resolverstore

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// RedisOptions is how Redis is reached.
type RedisOptions struct {
	// URL names the server, or a few servers of a cluster, or sentinels:
	//
	//	redis://[user:password@]host[:6379][/db]
	//	unix:///path/of/socket[?db=n]
	//	redis-cluster://[user:password@]host:port[,host:port…]
	//	redis-sentinel://[user:password@]host[:26379][,host:port…]/master[?db=n]
	//
	// rediss://, rediss-cluster:// and rediss-sentinel:// do so over TLS. Secret, as it may hold a password.
	URL string
	// Username is the ACL user; that of the URL goes before. Empty is the default user.
	Username string
	// Password goes with Username; that of the URL goes before. Secret.
	Password string
	// SentinelUsername and SentinelPassword are for the sentinels themselves. Secret.
	SentinelUsername, SentinelPassword string
	// TLS is used with the URLs that say so. Nil is the machine's own certificate authorities.
	TLS *tls.Config
	// Timeout bounds a connection's set-up, and each command's answer. What takes more is at an end after twice as long.
	// Default 1 s.
	Timeout time.Duration
	// PoolSize bounds the connections to one server, besides that which subscribes. Default 16.
	PoolSize int
}

func (o RedisOptions) withDefaults() RedisOptions {
	setDefault(&o.Timeout, time.Second)
	setDefault(&o.PoolSize, 16)
	return o
}

// Validate tells what is wrong with the URL: ErrUnsuitable. It tells nothing of its secrets.
func (o RedisOptions) Validate() error {
	_, err := o.universal()
	return err
}

// client returns a client of the kind that the URL says.
func (o RedisOptions) client() (redis.UniversalClient, error) {
	u, err := o.universal()
	if err != nil {
		return nil, err
	}
	return redis.NewUniversalClient(u), nil
}

func unsuitable(what string) error { return fmt.Errorf("redis url: %s: %w", what, ErrUnsuitable) }

// universal returns the client's own options.
func (o RedisOptions) universal() (*redis.UniversalOptions, error) {
	u := &redis.UniversalOptions{
		Username: o.Username, Password: o.Password, SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
		Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, MaxRedirects: 8,
		MaxRetries: 2, DialerRetries: 1, MinRetryBackoff: 4 * time.Millisecond, MaxRetryBackoff: 64 * time.Millisecond,
		DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, PoolTimeout: o.Timeout, PoolSize: o.PoolSize,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	scheme, rest, ok := strings.Cut(o.URL, "://")
	if !ok {
		return nil, unsuitable("it has no scheme")
	}
	secure := strings.HasPrefix(scheme, "rediss")
	kind := strings.TrimPrefix(strings.Replace(scheme, "rediss", "redis", 1), "redis")
	if scheme == "unix" {
		kind = scheme
	}
	at := strings.LastIndexByte(rest, '@')
	if at >= 0 {
		// Hosts are several, which net/url does not know; the rest is as it says.
		who, err := url.Parse("redis://" + rest[:at+1] + "host")
		if err != nil {
			return nil, unsuitable("user or password cannot be read")
		}
		u.Username = who.User.Username()
		u.Password, _ = who.User.Password()
	}
	rest, query, _ := strings.Cut(rest[at+1:], "?")
	if err := o.place(u, kind, rest); err != nil {
		return nil, err
	}
	if err := parseQuery(u, query); err != nil {
		return nil, err
	}
	if u.DB != 0 && u.IsClusterMode {
		return nil, unsuitable("a cluster has no databases")
	}
	if secure {
		u.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if o.TLS != nil {
			u.TLSConfig = o.TLS.Clone()
		}
	}
	return u, nil
}

// place reads hosts and path.
func (o RedisOptions) place(u *redis.UniversalOptions, kind, rest string) error {
	hosts, path, _ := strings.Cut(rest, "/")
	port := "6379"
	switch kind {
	case "unix":
		if path == "" || hosts != "" {
			return unsuitable("a socket is named by an absolute path")
		}
		u.Addrs = []string{"/" + path}
		return nil
	case "":
		if path != "" {
			db, err := strconv.Atoi(path)
			if err != nil || db < 0 {
				return unsuitable("the database is no number")
			}
			u.DB = db
		}
		if strings.Contains(hosts, ",") {
			return unsuitable("several hosts need redis-cluster:// or redis-sentinel://")
		}
	case "-cluster":
		u.IsClusterMode = true
		if path != "" {
			return unsuitable("a cluster has no databases")
		}
	case "-sentinel":
		port = "26379"
		if u.MasterName = path; path == "" {
			return unsuitable("the master's name is missing")
		}
	default:
		return unsuitable("its scheme is not known")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		h, err := url.Parse("redis://" + host)
		if err != nil || h.Hostname() == "" || h.Path != "" {
			return unsuitable("a host cannot be read")
		}
		if h.Port() == "" {
			host += ":" + port
		}
		u.Addrs = append(u.Addrs, host)
	}
	return nil
}

func parseQuery(u *redis.UniversalOptions, query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return unsuitable("its query cannot be read")
	}
	for name, v := range values {
		if name != "db" || len(v) != 1 {
			return unsuitable("its query has an option that is not known")
		}
		if u.DB, err = strconv.Atoi(v[0]); err != nil || u.DB < 0 {
			return unsuitable("the database is no number")
		}
	}
	return nil
}
