package service

import (
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// errSealed means that what a session's record has sealed cannot be read here: by another secret, or of another session.
var errSealed = errors.New("service: what is sealed cannot be opened")

// requestHashes tell "the same request" without keeping its secrets: who lacks the key cannot try what they might be. The first one is kept; a pod with another secret in front, or this one before secrets
// changed, has kept one of the others.
func requestHashes(k *relay.Keys, r *penstockv1.CreateSessionRequest) (hashes []string, err error) {
	if r.GetSource() == nil {
		r = proto.CloneOf(r)
		r.Source = &penstockv1.CreateSessionRequest_Offers{Offers: &penstockv1.OffersSource{}}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("hashing the request: %w", err)
	}
	for _, sum := range k.MACs(relay.ForRequestHash, b) {
		hashes = append(hashes, hex.EncodeToString(sum))
	}
	return hashes, nil
}

// sealServers encrypts ICE servers for the record of one session, bound to it. Of none nothing is kept.
func sealServers(k *relay.Keys, of resolverstore.SessionKey, servers []rtcpool.ICEServer) ([]byte, error) {
	if len(servers) == 0 {
		return nil, nil
	}
	m := &penstockv1.UpdateIceServersRequest{}
	for _, s := range servers {
		m.IceServers = append(m.IceServers, &penstockv1.IceServer{Urls: s.URLs, Username: s.Username, Credential: s.Credential})
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("sealing ICE servers: %w", err)
	}
	out, err := k.Seal(relay.ForSeal, b, []byte(of.Tenant), []byte(of.ID))
	if err != nil {
		return nil, fmt.Errorf("sealing ICE servers: %w", err)
	}
	return out, nil
}

// unsealServers undoes sealServers: errSealed.
func unsealServers(k *relay.Keys, of resolverstore.SessionKey, b []byte) ([]rtcpool.ICEServer, error) {
	if len(b) == 0 {
		return nil, nil
	}
	plain, err := k.Open(relay.ForSeal, b, []byte(of.Tenant), []byte(of.ID))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSealed, err)
	}
	m := &penstockv1.UpdateIceServersRequest{}
	if err := proto.Unmarshal(plain, m); err != nil {
		return nil, fmt.Errorf("%w: %w", errSealed, err)
	}
	return iceServers(m.GetIceServers()), nil
}
