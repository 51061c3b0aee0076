// Command capture lets Chromium publish its fake camera with a codec and a scalability mode, and writes the RTP packets that come to
// an rtpdump file. It asks for a key frame in the middle. make.sh calls it: go run ./capture OUT CODEC MODE WIDTH HEIGHT BITRATE PICTURES, and then, to give a
// reference decoder what is left of the layers, go run ./capture ivf IN CODEC SCHEDULE OUT.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/rtpdump"
)

//go:embed page.html
var page []byte

// dependencyURI is the extension that AV1 tells its layers by; it has id 1, since there is no other.
const dependencyURI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

func main() {
	if len(os.Args) == 6 && os.Args[1] == "ivf" {
		if err := convert(os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
			log.Fatal(err)
		}
		return
	}
	if len(os.Args) != 8 {
		log.Fatal("usage: capture OUT CODEC MODE WIDTH HEIGHT BITRATE PICTURES")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := capture(ctx, os.Args[1], os.Args[2:7], os.Args[7]); err != nil {
		log.Fatal(err)
	}
}

func capture(ctx context.Context, out string, args []string, count string) error {
	pictures, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("pictures: %w", err)
	}
	tracks := make(chan *webrtc.TrackRemote, 1)
	pc, err := receiver(tracks)
	if err != nil {
		return err
	}
	defer func() { _ = pc.Close() }()
	server := httptest.NewServer(answering(pc))
	defer server.Close()
	defer server.CloseClientConnections()

	profile, err := os.MkdirTemp("", "capture")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(profile) }()
	query := url.Values{"codec": {args[0]}, "mode": {args[1]}, "width": {args[2]}, "height": {args[3]}, "bitrate": {args[4]}}
	browser := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
		"--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection", "--user-data-dir="+profile, server.URL+"/?"+query.Encode())
	browser.WaitDelay = 5 * time.Second
	if err := browser.Start(); err != nil {
		return err
	}
	defer func() {
		_ = browser.Process.Kill()
		_ = browser.Wait()
	}()
	select {
	case t := <-tracks:
		return record(pc, t, out, pictures)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func receiver(tracks chan<- *webrtc.TrackRemote) (*webrtc.PeerConnection, error) {
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	dependency := webrtc.RTPHeaderExtensionCapability{URI: dependencyURI}
	if err := engine.RegisterHeaderExtension(dependency, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.ABSSendTimeURI}, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { tracks <- t })
	return pc, nil
}

// answering serves the page, and answers its offer with everything gathered.
func answering(pc *webrtc.PeerConnection) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	mux.HandleFunc("POST /failed", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		log.Fatalf("the page failed: %s", text)
	})
	mux.HandleFunc("POST /offer", func(w http.ResponseWriter, r *http.Request) {
		var offer webrtc.SessionDescription
		err := json.NewDecoder(r.Body).Decode(&offer)
		if err == nil {
			err = pc.SetRemoteDescription(offer)
		}
		var answer webrtc.SessionDescription
		if err == nil {
			answer, err = pc.CreateAnswer(nil)
		}
		gathered := webrtc.GatheringCompletePromise(pc)
		if err == nil {
			err = pc.SetLocalDescription(answer)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		<-gathered
		_ = json.NewEncoder(w).Encode(pc.LocalDescription())
	})
	return mux
}

// record writes whole pictures, after a second in which the encoder finds its layers: from a key frame that it asks for.
func record(pc *webrtc.PeerConnection, t *webrtc.TrackRemote, path string, pictures int) error {
	ask := func() {
		_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(t.SSRC())}})
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w, err := rtpdump.NewWriter(f, rtpdump.Header{Source: net.IPv4(127, 0, 0, 1), Start: time.Unix(0, 0)})
	if err != nil {
		return err
	}
	begun := time.Now()
	asked, writing, seen, last := false, false, 0, uint32(0)
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return err
		}
		if len(p.Payload) == 0 {
			continue
		}
		if !asked && time.Since(begun) > 3*time.Second {
			asked, writing = true, true // pictures before the key frame are left out by who reads
			ask()
		}
		if !writing {
			last = p.Timestamp
			continue
		}
		if p.Timestamp != last {
			last = p.Timestamp
			seen++
			if seen == pictures/2 {
				ask()
			}
			if seen > pictures {
				return f.Close()
			}
		}
		b, err := p.Marshal()
		if err != nil {
			return err
		}
		if err := w.WritePacket(rtpdump.Packet{Offset: time.Since(begun), Payload: b}); err != nil {
			return err
		}
	}
}
