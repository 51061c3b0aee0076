package media

import (
	"bytes"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// foreignClips are those that the ffmpeg program packetizes, with what it must be told.
func foreignClips() []struct {
	codec Codec
	clip  string
	args  []string
} {
	return []struct {
		codec Codec
		clip  string
		args  []string
	}{
		{CodecVP8, "vp8-odd.ivf", nil},
		{CodecVP9, "vp9.ivf", []string{"-strict", "experimental"}},
		{CodecH264, "h264-high.h264", nil},
		{CodecH264, "h264-baseline.h264", []string{"-rtpflags", "h264_mode0"}},
		{CodecH265, "h265.h265", nil},
	}
}

// The ffmpeg program sends a clip as RTP over a socket, in packets of 500 bytes, and says in SDP what it sends; every picture must be what the
// reference decoder made of the clip.
func TestF1_FFmpegPacketizesVideo(t *testing.T) {
	for _, c := range foreignClips() {
		t.Run(c.clip, func(t *testing.T) {
			noCMemory(t)
			packets, sdp := sentByFFmpeg(t, c.clip, c.args...)
			params := CodecParameters{Codec: c.codec, PayloadType: 96, ClockRate: 90000}
			if m := regexp.MustCompile(`a=fmtp:96 (.*)`).FindStringSubmatch(sdp); m != nil {
				params.Fmtp = strings.TrimSpace(m[1])
			}
			track := newTestTrack(t, KindVideo)
			track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
			consumer := subscribe(t, track, Request{Queue: patient})
			want := strings.Fields(strings.ReplaceAll(string(fixture(t, strings.TrimSuffix(c.clip, filepath.Ext(c.clip))+".md5")), " ", "/"))
			for _, p := range packets {
				track.WriteRTP(p, time.Now())
			}
			for i := range want {
				if got := frameSum(frame(t, consumer)); got != want[i] {
					t.Errorf("picture %d is %s, want %s", i, got, want[i])
				}
			}
			if st := track.Stats(); st.Lost != 0 || st.UnitsDropped != 0 || st.Unusable != 0 || st.DecodeErrors != 0 {
				t.Errorf("%d packets: %+v", len(packets), st)
			}
		})
	}
}

// sentByFFmpeg returns what the ffmpeg program sends of a clip, and the SDP.
func sentByFFmpeg(t *testing.T, clip string, args ...string) (packets [][]byte, sdp string) {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	if err := socket.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	read := make(chan [][]byte)
	go func() {
		var all [][]byte
		b := make([]byte, 1<<16)
		for {
			n, err := socket.Read(b)
			if err != nil || n == 1 { // a byte of ours ends it
				read <- all
				return
			}
			if n > 12 && b[1]&0x7f == 96 { // RTCP comes to the same port
				all = append(all, bytes.Clone(b[:n]))
			}
		}
	}()
	command := []string{"-v", "error", "-nostdin", "-i", filepath.Join("testdata", clip), "-c", "copy"}
	command = append(command, args...)
	size := "500"
	if len(args) > 1 && args[1] == "h264_mode0" {
		size = "60000" // it knows no fragments
	}
	command = append(command, "-f", "rtp", "-payload_type", "96", "rtp://"+socket.LocalAddr().String()+"?pkt_size="+size+"&rtcpport="+portOf(socket))
	cmd := exec.CommandContext(t.Context(), "ffmpeg", command...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("ffmpeg %v: %v\n%s", command, err, stderr.String())
	}
	last, err := net.Dial("udp4", socket.LocalAddr().String())
	if err == nil {
		_, err = last.Write([]byte{0}) // loopback keeps the order
		err = errors.Join(err, last.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return <-read, string(out)
}

// soundByFFmpeg returns what the ffmpeg program, with this machine's libopus, makes of an Opus clip with that many channels. How silence is filled and modes are joined
// is left to decoders, and versions of libopus differ there: on libopus 1.3 this is what the clip's fixture holds.
func soundByFFmpeg(t *testing.T, clip string, channels int) []int16 {
	t.Helper()
	command := []string{"-v", "error", "-nostdin", "-c:a", "libopus", "-i", filepath.Join("testdata", clip), "-f", "s16le", "-ar", "48000", "-ac", strconv.Itoa(channels), "pipe:1"}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", command...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("ffmpeg %v: %d bytes, %v\n%s", command, len(out), err, stderr.String())
	}
	return samplesOf(out)
}

func portOf(c *net.UDPConn) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}
