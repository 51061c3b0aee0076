package sfutest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// maxSDPBytes bounds what is read of an HTTP response.
const maxSDPBytes = 1 << 20

// WHIPConfig is what a WHIPPublisher needs.
type WHIPConfig struct {
	// URL is the endpoint: "http://127.0.0.1:8080/whip/call". Required.
	URL string
	// Token is the bearer token (RFC 6750); empty sends none.
	Token string
	// Clips are published, one track each. At least one is required.
	Clips []clips.Clip
	// Client sends the requests. Required.
	Client *http.Client
}

// WHIPPublisher publishes clips over WHIP (RFC 9725).
type WHIPPublisher struct {
	cfg      WHIPConfig
	peer     *peer
	pacers   []*pacer
	resource string
}

// PublishWHIP offers the clips to the endpoint and sends them. Close must be called.
func PublishWHIP(ctx context.Context, cfg WHIPConfig) (*WHIPPublisher, error) {
	if cfg.URL == "" || cfg.Client == nil || len(cfg.Clips) == 0 {
		return nil, fmt.Errorf("%w: URL, Client and Clips", ErrConfig)
	}
	p, err := newPeer(&Config{Network: NewNetwork(0)}, 1)
	if err != nil {
		return nil, err
	}
	w := &WHIPPublisher{cfg: cfg, peer: p}
	if err := w.publish(ctx); err != nil {
		_ = p.close() // what failed before is the error to tell
		return nil, err
	}
	return w, nil
}

func (w *WHIPPublisher) publish(ctx context.Context) error {
	streamID := rand.Text()
	starts := make([]func(), 0, len(w.cfg.Clips))
	for _, clip := range w.cfg.Clips {
		own, err := newPacer(clip, rand.Text(), streamID)
		if err != nil {
			return err
		}
		sender, err := w.peer.add(own.local)
		if err != nil {
			return fmt.Errorf("add %s: %w", clip.Name, err)
		}
		w.pacers = append(w.pacers, own)
		starts = append(starts, func() {
			own.start(w.peer.ctx, w.peer.connected)
			w.peer.work.Go(func() { readRTCP(sender, func() *pacer { return own }) })
		})
	}
	offer, err := w.peer.offer(ctx, nil)
	if err != nil {
		return err
	}
	answer, err := w.post(ctx, offer)
	if err != nil {
		return err
	}
	if err := w.peer.answer(answer); err != nil {
		return err
	}
	for _, start := range starts {
		start()
	}
	return nil
}

// post sends the offer (RFC 9725 section 4.2) and keeps the address of what it created.
func (w *WHIPPublisher) post(ctx context.Context, offer string) (answer string, err error) {
	got, err := w.do(ctx, http.MethodPost, w.cfg.URL, []byte(offer))
	if err != nil {
		return "", err
	}
	if got.status != http.StatusCreated || got.header.Get("Content-Type") != "application/sdp" {
		return "", fmt.Errorf("%w: status %d: %s", ErrWHIP, got.status, got.body)
	}
	base, err := url.Parse(w.cfg.URL)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrConfig, err)
	}
	location, err := base.Parse(got.header.Get("Location"))
	if err != nil || got.header.Get("Location") == "" {
		return "", fmt.Errorf("%w: Location %q", ErrWHIP, got.header.Get("Location"))
	}
	w.resource = location.String()
	return string(got.body), nil
}

// reply is an HTTP response that has been read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (w *WHIPPublisher) do(ctx context.Context, method, address string, body []byte) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/sdp")
	}
	if w.cfg.Token != "" {
		request.Header.Set("Authorization", "Bearer "+w.cfg.Token)
	}
	response, err := w.cfg.Client.Do(request)
	if err != nil {
		return reply{}, fmt.Errorf("%s %s: %w", method, address, err)
	}
	defer func() { _ = response.Body.Close() }() // nothing can be done about it
	text, err := io.ReadAll(io.LimitReader(response.Body, maxSDPBytes))
	if err != nil {
		return reply{}, fmt.Errorf("%s %s: %w", method, address, err)
	}
	return reply{response.StatusCode, response.Header, text}, nil
}

// Resource is the address of the publication, from the Location header.
func (w *WHIPPublisher) Resource() string { return w.resource }

// Connected is closed when media can flow.
func (w *WHIPPublisher) Connected() <-chan struct{} { return w.peer.connected }

// KeyFrameRequests counts the PLI and FIR received for all clips.
func (w *WHIPPublisher) KeyFrameRequests() uint64 {
	total := uint64(0)
	for _, p := range w.pacers {
		total += p.keyRequests.Load()
	}
	return total
}

// Close takes the publication back by DELETE (RFC 9725 section 4.2), ends the peer connection and waits for every
// goroutine, also when the endpoint refuses.
func (w *WHIPPublisher) Close(ctx context.Context) error {
	got, err := w.do(ctx, http.MethodDelete, w.resource, nil)
	if err == nil && got.status != http.StatusOK && got.status != http.StatusNoContent {
		err = fmt.Errorf("%w: DELETE: status %d: %s", ErrWHIP, got.status, got.body)
	}
	for _, p := range w.pacers {
		p.stop()
	}
	if closeErr := w.peer.close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close the peer connection: %w", closeErr)
	}
	return err
}
