package service

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// DefaultResumeLife is how long a resume token is good for.
const DefaultResumeLife = time.Hour

// mark is how far a worker has come on one stream's time line, whichever pods have served it.
type mark struct {
	start    time.Time     // presentation time 0
	epoch    uint64        // of the owner that sent last
	sequence uint64        // of the last frame within the epoch
	at       time.Duration // presentation time up to which the worker has media
}

// A resume token holds what a pod must know of a stream that another one served, but for what the worker itself knows. It says nothing that
// the stream's header does not say, and grants nothing. Its layout, before base64url without padding:
//
//	version   1 byte
//	expires   8 bytes, seconds since the Unix epoch
//	epoch     8 bytes
//	start     8 bytes, nanoseconds since the Unix epoch
//	session  16 bytes, of a hash of tenant and session
//	selector 16 bytes, of a hash of the selector
//	HMAC-SHA256 of all that is before, 32 bytes
const (
	tokenVersion = 1
	tokenHash    = 16
	tokenSigned  = 1 + 3*8 + 2*tokenHash
	tokenSize    = tokenSigned + sha256.Size
)

// tokens makes and reads resume tokens. Its methods are safe for concurrent use.
type tokens struct {
	keys *relay.Keys
	life time.Duration
	now  func() time.Time
}

// sign returns a token of a stream.
func (t *tokens) sign(key resolverstore.SessionKey, sel resolverstore.Selector, epoch uint64, start time.Time) string {
	b := make([]byte, 0, tokenSize)
	b = append(b, tokenVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(t.now().Add(t.life).Unix())) //nolint:gosec // after 1970
	b = binary.BigEndian.AppendUint64(b, epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(start.UnixNano())) //nolint:gosec // read back as it was
	b = appendHash(b, key.Tenant, key.ID)
	b = appendSelector(b, sel)
	return base64.RawURLEncoding.EncodeToString(append(b, t.keys.MAC(relay.ForResume, b)...))
}

// Why a token is refused, for the caller.
var (
	errTokenForm     = errors.New("is not one that a gateway made")
	errTokenForged   = errors.New("was not made by this gateway, or was changed")
	errTokenVersion  = errors.New("is of another version of the gateway")
	errTokenExpired  = errors.New("is too old")
	errTokenSession  = errors.New("is of another session")
	errTokenSelector = errors.New("is of another selector")
)

// parse reads a token that was made for the session and the selector. Nothing of it is believed before the proof is checked.
func (t *tokens) parse(token string, key resolverstore.SessionKey, sel resolverstore.Selector) (mark, error) {
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return mark{}, errTokenForm
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != tokenSize {
		return mark{}, errTokenForm
	}
	if !t.keys.Verify(relay.ForResume, b[tokenSigned:], b[:tokenSigned]) {
		return mark{}, errTokenForged
	}
	expires, scope := binary.BigEndian.Uint64(b[1:]), b[25:]
	switch {
	case b[0] != tokenVersion:
		return mark{}, errTokenVersion
	case expires > math.MaxInt64 || t.now().Unix() > int64(expires):
		return mark{}, errTokenExpired
	case subtle.ConstantTimeCompare(appendHash(nil, key.Tenant, key.ID), scope[:tokenHash]) == 0:
		return mark{}, errTokenSession
	case subtle.ConstantTimeCompare(appendSelector(nil, sel), scope[tokenHash:2*tokenHash]) == 0:
		return mark{}, errTokenSelector
	}
	start := int64(binary.BigEndian.Uint64(b[17:])) //nolint:gosec // written by sign
	return mark{epoch: binary.BigEndian.Uint64(b[9:]), start: time.Unix(0, start)}, nil
}

// appendSelector appends a hash of a selector.
func appendSelector(b []byte, s resolverstore.Selector) []byte {
	return appendHash(b, s.TrackID, s.ParticipantID, s.UserID, fmt.Sprint(int(s.Source)))
}

// appendHash appends a hash of words, which no other words have.
func appendHash(b []byte, words ...string) []byte {
	h := sha256.New()
	for _, w := range words {
		writeWord(h, w)
	}
	return append(b, h.Sum(nil)[:tokenHash]...)
}

// writeWord writes a word and its length.
func writeWord(h hash.Hash, w string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(w)))
	h.Write(n[:])
	h.Write([]byte(w))
}

// resumed returns where a request says that its worker is, or nil for one that begins.
func (s *Service) resumed(r *penstockv1.StreamTrackRequest, k resolverstore.SessionKey) (*mark, error) {
	if r.GetResumeToken() == "" {
		return nil, nil //nolint:nilnil // It begins.
	}
	m, err := s.tokens.parse(r.GetResumeToken(), k, trackSelector(r.GetSelector()))
	if err != nil {
		return nil, &failure{
			reason: penstockv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID,
			fields: []fieldFault{{"resume_token", err.Error()}},
		}
	}
	m.at, m.sequence = time.Duration(r.GetResumePresentationTimeNs()), r.GetResumeSequence()
	if far := time.Since(m.start) + maxAhead; m.at > far {
		return nil, invalid("resume_presentation_time_ns", "is further on than the stream can be")
	}
	return &m, nil
}

// maxAhead is how much further than the clock says a worker may be: by the difference of two pods' clocks.
const maxAhead = 5 * time.Minute

// resuming writes into a request how far its worker is, so that any pod goes on from there.
func (s *Service) resuming(r *penstockv1.StreamTrackRequest, k resolverstore.SessionKey, m mark) {
	r.ResumeToken = s.tokens.sign(k, trackSelector(r.GetSelector()), m.epoch, m.start)
	r.ResumePresentationTimeNs, r.ResumeSequence = int64(m.at), m.sequence
}
