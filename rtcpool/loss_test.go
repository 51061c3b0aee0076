package rtcpool_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/pion/rtcp"
)

// rough is 5 % loss and a jitter of 30 ms, by which packets overtake each other.
func rough(of func([]byte) bool) sfutest.Link {
	return sfutest.Link{Match: of, Loss: 0.05, Jitter: 30 * time.Millisecond}
}

// everyTwentieth loses 5 % of the packets: those whose number says so when they are first sent, and each twentieth of those that
// are sent again.
type everyTwentieth struct {
	ssrc     uint32
	numbered map[uint16]bool // packets of the source that were seen
	lost     int             // of the source
	again    int             // sent again, in whatever stream
}

func (e *everyTwentieth) drop(datagram []byte) bool {
	if !sfutest.IsRTP(datagram) {
		return false
	}
	seq := binary.BigEndian.Uint16(datagram[2:])
	if binary.BigEndian.Uint32(datagram[8:]) != e.ssrc || e.numbered[seq] {
		e.again++
		return e.again%20 == 0
	}
	e.numbered[seq] = true
	if seq*40503%65521%20 != 0 { // scattered, with some that follow each other closely
		return false
	}
	e.lost++
	return true
}

// Every picture that is delivered is, to the bit, what the clip decodes to without loss, and goes on from the one before or is
// a key frame. Each packet that the network loses is sent again in time or given up. Few are: a machine that stalls for longer than is
// waited for a packet may need several tries to show that.
func TestS16_LossReorderingAndJitter(t *testing.T) {
	for _, clip := range []clips.Clip{clips.AliceCamera(), clips.BobCamera()} {
		ref := newReference(t, clip)
		for _, withoutRTX := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/rtx=%v", clip.Codec, !withoutRTX), func(t *testing.T) {
				t.Parallel()
				short := "never tried"
				for try := 1; short != "" && try <= 6; try++ {
					t.Run(fmt.Sprint(try), func(t *testing.T) { short = testRough(t, clip, ref, withoutRTX) })
				}
				if short != "" {
					t.Error(short)
				}
			})
		}
	}
}

// testRough checks what holds however busy the machine is, and returns what fell short of what can be had.
func testRough(t *testing.T, clip clips.Clip, ref *reference, withoutRTX bool) string {
	t.Helper()
	const pictures = 150
	l := newLab(t)
	network := sfutest.NewNetwork(uint64(len(clip.Name)))
	c := l.call("s", func(cfg *sfutest.Config) { cfg.Network, cfg.WithoutRTX = network, withoutRTX })
	track := c.track("p", camera, clip)
	w := watch(track, ref.units)
	m := c.add(track)[0]
	v := view(t, m.Track, ref, w)
	v.next()
	fate := &everyTwentieth{ssrc: m.SSRC, numbered: make(map[uint16]bool)}
	out := rough(sfutest.IsRTP)
	out.Loss, out.Drop = 0, fate.drop
	network.SetOut(out)
	network.SetIn(rough(sfutest.IsRTCP))
	w.more(t, pictures)
	network.SetOut(sfutest.Link{}) // after this nothing is asked of fate any more
	network.SetIn(sfutest.Link{})
	w.more(t, 20) // to tell of all losses before
	lost := uint64(fate.lost)
	if err := c.sfu.Remove(l.ctx, track); err != nil {
		t.Fatal(err)
	}
	c.session.Close()
	v.drain()
	s, told := m.Track.Stats(), l.pool.Stats()
	t.Logf("network lost %d of %d; %d repaired of %d asked for by %d NACKs, %d unwanted; track gave up %d, %d were late; %d pictures of %d, %d lost; %d PLI",
		lost, len(fate.numbered), told.RepairedPackets, told.NACKedPackets, told.NACKs, told.UnwantedRetransmissions, s.Lost, s.Late, v.pictures, w.sent, v.lost, s.KeyFrameAsks)
	switch {
	case lost < 10:
		t.Errorf("the network lost only %d packets", lost)
	case v.astray > 0:
		t.Errorf("%d times a picture other than a key frame followed a loss", v.astray)
	case s.Lost == 0 && v.lost > 0:
		t.Errorf("%d pictures are lost, and no packet", v.lost)
	}
	// Of a packet that was asked for one comes in vain, the first or the one sent again; both when they are late, which is told apart.
	if unwanted := told.UnwantedRetransmissions + s.Duplicate; unwanted > told.NACKedPackets || s.Late > s.Lost+told.NACKedPackets {
		t.Errorf("%d packets came in vain, %d late; %d were asked for, %d given up", unwanted, s.Late, told.NACKedPackets, s.Lost)
	}
	switch {
	case told.RepairedPackets+s.Lost < lost: // what is sent again may be taken for what is only late
		return fmt.Sprintf("of %d packets that the network lost %d were repaired and %d given up", lost, told.RepairedPackets, s.Lost)
	case s.Lost > lost/8+2:
		return fmt.Sprintf("the track gave up %d packets of %d that the network lost", s.Lost, lost)
	case v.pictures < pictures*75/100:
		return fmt.Sprintf("%d pictures of %d", v.pictures, pictures)
	case told.NACKedPackets > 20*lost: // those that are only late count too
		return fmt.Sprintf("%d packets were asked for, of %d that were lost", told.NACKedPackets, lost)
	}
	return ""
}

// Half a second without a packet: what is missing is sent again if it is not too much, and not one picture is lost.
func TestS16_BurstIsRepaired(t *testing.T) {
	t.Parallel()
	v, w, network, pool, asked := burst(t, 0)
	for range 40 {
		if f := v.next(); f.Lost.Frames != 0 {
			t.Errorf("%+v lost", f.Lost)
		}
	}
	if s := pool.Stats(); s.RepairedPackets == 0 || s.RepairedPackets < network.Out().Lost-5 || count[*rtcp.PictureLossIndication](w) != asked {
		t.Errorf("%+v; the network lost %d", s, network.Out().Lost)
	}
}

// Too much is missing to be sent again: a key frame is asked for, and what is delivered next is one.
func TestS16_LongBurstEndsWithAKeyFrame(t *testing.T) {
	t.Parallel()
	v, w, _, pool, asked := burst(t, 200)
	poll(t, "a PLI", func() string {
		if count[*rtcp.PictureLossIndication](w) == asked {
			return "none more came"
		}
		return ""
	})
	var after *media.Frame
	for after == nil || after.Lost.Frames == 0 {
		after = v.next()
	}
	if !after.KeyFrame || after.Lost.Duration < 400*time.Millisecond {
		t.Errorf("after the burst: key frame %v, lost %+v", after.KeyFrame, after.Lost)
	}
	for range 20 {
		if f := v.next(); f.Lost.Frames != 0 {
			t.Errorf("still %+v lost", f.Lost)
		}
	}
	if s := pool.Stats(); s.NACKedPackets != 0 {
		t.Errorf("%d packets were asked for in vain", s.NACKedPackets)
	}
}

// burst loses all packets of half a second, and as many of padding. asked is how many key frames were asked for before.
func burst(t *testing.T, padding int) (v *viewer, w *witness, network *sfutest.Network, pool *rtcpool.Pool, asked int) {
	t.Helper()
	clip := clips.AliceCamera()
	ref := newReference(t, clip)
	l := newLab(t)
	network = sfutest.NewNetwork(1)
	c := l.call("s", func(cfg *sfutest.Config) { cfg.Network = network })
	track := c.track("p", camera, clip)
	w = watch(track, ref.units)
	m := c.add(track)[0]
	v = view(t, m.Track, ref, w)
	for range 10 {
		v.next()
	}
	asked = count[*rtcp.PictureLossIndication](w)
	network.SetOut(sfutest.Link{Match: sfutest.IsRTP, Loss: 1})
	w.more(t, 15)
	track.Probe(padding)
	network.SetOut(sfutest.Link{})
	return v, w, network, l.pool, asked
}

// Sound that is lost is made up, in its place and marked, or recovered from the packet after it.
func TestS16_Audio(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	network := sfutest.NewNetwork(3)
	c := l.call("s", func(cfg *sfutest.Config) { cfg.Network = network })
	track := c.track("p", microphone, clips.AliceMicrophone())
	m := c.add(track)[0]
	consumer, err := m.Track.Subscribe(media.Request{Audio: &media.AudioFormat{Rate: 16000}, Queue: patient})
	must(t, err)
	defer consumer.Close()
	network.SetOut(rough(sfutest.IsRTP))
	var pcm []int16
	concealed, lost := 0, 0
	end := time.Duration(-1)
	for range 300 { // six seconds
		f := nextSound(t, consumer)
		if d := f.Time - end; end >= 0 && (d < -time.Millisecond || d > time.Millisecond) {
			t.Errorf("a hole of %v at %v", d, f.Time)
		}
		end = f.Time + f.Duration
		if f.Concealed {
			concealed++
		}
		lost += int(f.Lost.Frames)
		pcm = append(pcm, samples(f)...)
		f.Payload.Release()
	}
	// What came too late, on a busy machine, is told as lost too.
	least, late := int(network.Out().Lost), int(m.Track.Stats().Late) //nolint:gosec // small
	if lost == 0 || concealed == 0 || concealed > 2*lost+2 || lost < least-3 || lost > least+late+3 {
		t.Errorf("the network lost %d, late were %d, told %d, concealed %d", least, late, lost, concealed)
	}
	for at := 0; at+16000 <= len(pcm); at += 16000 {
		if hz, _ := clips.ToneAt(pcm[at:at+16000], 16000); hz != clips.AliceMicrophone().ToneHz {
			t.Errorf("%d Hz is heard in second %d", hz, at/16000)
		}
	}
	if s := l.pool.Stats(); s.NACKs != 0 {
		t.Errorf("%d NACKs for sound, which nobody negotiated", s.NACKs)
	}
}

func nextSound(t *testing.T, c *media.Consumer) *media.Frame {
	t.Helper()
	for {
		item, err := c.Next(t.Context())
		must(t, err)
		if item.Frame != nil {
			return item.Frame
		}
	}
}
