package rtcpool

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/repair"
	"github.com/penstock-media/penstock/rtcpool/internal/sparing"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

const (
	transportCCInterval = 100 * time.Millisecond // of transport-wide feedback, while packets come
	never               = math.MaxInt64
)

// feedback sends the RTCP of one peer connection: requests for key frames, NACK (RFC 4585), receiver reports (RFC 3550),
// transport-wide congestion control, REMB. One goroutine does all of it, and sleeps without a timer while nothing is due.
type feedback struct {
	peer      *peer
	ssrc      uint32 // ours
	start     time.Time
	wake      chan struct{}
	keyFrames chan keyFrameRequest
	next      atomic.Int64 // when the goroutine will look again, in nanoseconds since start
	reporting atomic.Bool  // a report is due at some time
	roundTrip repair.RoundTrip
	faults    sparing.Log

	mu      sync.Mutex
	readers []*reader

	transportCC atomic.Uint32 // id of the header extension, the same in all media (RFC 8285 section 6); 0: not negotiated
	arrivals    arrivals
	remb        repair.Bandwidth

	// Of the goroutine alone.
	nextReport time.Duration
	missing    []uint16
}

// arrivals records when packets came, for transport-wide congestion control.
type arrivals struct {
	mu       sync.Mutex
	recorder *twcc.Recorder
	due      time.Duration // of the next feedback; 0 when there is nothing to tell
}

func newFeedback(p *peer) *feedback {
	f := &feedback{
		peer: p, ssrc: rand.Uint32(), start: time.Now(),
		wake: make(chan struct{}, 1), keyFrames: make(chan keyFrameRequest, 64),
	}
	f.next.Store(never)
	f.arrivals.recorder = twcc.NewRecorder(f.ssrc)
	return f
}

// now is the clock of everything here.
func (f *feedback) now() time.Duration { return time.Since(f.start) }

// by makes the goroutine look at that time or before. It never blocks.
func (f *feedback) by(at time.Duration) {
	for {
		next := f.next.Load()
		if next <= int64(at) {
			return
		}
		if f.next.CompareAndSwap(next, int64(at)) {
			break
		}
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine. It ends with the peer.
func (f *feedback) run() {
	timer := stoppedTimer()
	defer timer.Stop()
	for {
		select {
		case <-f.peer.ctx.Done():
			return
		case k := <-f.keyFrames:
			f.send(k.packet(f.ssrc))
			continue
		case <-f.wake:
		case <-timer.C:
		}
		f.next.Store(never)
		if next := f.work(f.now()); next > 0 {
			for {
				other := f.next.Load()
				if other <= int64(next) || f.next.CompareAndSwap(other, int64(next)) {
					break
				}
			}
		}
		if next := f.next.Load(); next != never {
			timer.Reset(max(time.Duration(next)-f.now(), 0))
		}
	}
}

// work sends what is due and returns when something will be; 0 is never.
func (f *feedback) work(now time.Duration) (next time.Duration) {
	readers := f.list()
	next = f.askForMissing(readers, now)
	next = earlier(next, f.sendTransportCC(now))
	if !f.reporting.Load() {
		return next
	}
	if f.nextReport == 0 {
		f.nextReport = now + repair.ReportInterval
		f.measurePath(readers)
	}
	if f.nextReport <= now {
		f.nextReport = now + repair.ReportInterval
		f.measurePath(readers)
		if !f.sendReports(readers, now) {
			f.reporting.Store(false) // the next packet begins anew
			f.nextReport = 0
		}
	}
	f.sendBandwidth(readers, now)
	return earlier(next, f.nextReport)
}

func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (f *feedback) add(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers = append(slices.Clone(f.readers), r) // copied on write: list hands it out
}

func (f *feedback) remove(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers = slices.DeleteFunc(slices.Clone(f.readers), func(o *reader) bool { return o == r })
}

func (f *feedback) list() []*reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readers
}

// askForMissing sends the NACKs that are due.
func (f *feedback) askForMissing(readers []*reader, now time.Duration) (next time.Duration) {
	smoothed, timeout := f.roundTrip.Estimate()
	for _, r := range readers {
		due := r.nackDue.Load()
		if due == 0 {
			continue
		}
		at := time.Duration(due)
		if at <= now {
			r.mu.Lock()
			f.missing, at = r.repair.Wants(f.missing[:0], now, smoothed, timeout)
			r.nackDue.Store(int64(at))
			r.mu.Unlock()
			f.nack(uint32(r.source.SSRC()), f.missing)
		}
		next = earlier(next, at)
	}
	return next
}

func (f *feedback) nack(ssrc uint32, seqs []uint16) {
	if len(seqs) == 0 {
		return
	}
	f.peer.stats().nacks.Add(1)
	f.peer.stats().nackedPackets.Add(uint64(len(seqs)))
	f.send(&rtcp.TransportLayerNack{SenderSSRC: f.ssrc, MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)})
}

// arrived takes note of a packet for transport-wide congestion control.
func (f *feedback) arrived(ssrc uint32, number uint16, now time.Duration) {
	a := &f.arrivals
	a.mu.Lock()
	a.recorder.Record(ssrc, number, now.Microseconds())
	begin := a.due == 0
	if begin {
		a.due = now + transportCCInterval
	}
	due := a.due
	a.mu.Unlock()
	if begin {
		f.by(due)
	}
}

// stranger takes note of a packet that belongs to no media, such as one that probes the path: the sender has numbered it with
// the others, and would take it for lost.
func (f *feedback) stranger(raw []byte, received time.Time) {
	id := uint8(f.transportCC.Load()) //nolint:gosec // 8 bits were put in
	profile, extensions, _, ok := repair.Parts(raw)
	if number := repair.Extension(profile, extensions, id); ok && len(number) == 2 {
		f.arrived(binary.BigEndian.Uint32(raw[8:12]), binary.BigEndian.Uint16(number), received.Sub(f.start))
	}
}

// sendTransportCC sends feedback on what came since the last, and returns when it is due.
func (f *feedback) sendTransportCC(now time.Duration) (due time.Duration) {
	a := &f.arrivals
	a.mu.Lock()
	if a.due == 0 || a.due > now {
		defer a.mu.Unlock()
		return a.due
	}
	a.due = 0
	packets := a.recorder.BuildFeedbackPacket()
	a.mu.Unlock()
	f.peer.stats().transportCC.Add(uint64(len(packets)))
	f.send(packets...)
	return 0
}

// heard makes reports go out as long as packets come.
func (f *feedback) heard(now time.Duration) {
	if !f.reporting.Load() && f.reporting.CompareAndSwap(false, true) {
		f.by(now)
	}
}

// maxReportBlocks is how many fit into one receiver report (RFC 3550 section 6.4.2).
const maxReportBlocks = 31

// sendReports sends receiver reports on the sources that were heard. ok is false when there was none.
func (f *feedback) sendReports(readers []*reader, now time.Duration) (ok bool) {
	var blocks []rtcp.ReceptionReport
	for _, r := range readers {
		r.mu.Lock()
		if b, fresh := r.reception.Report(uint32(r.source.SSRC()), r.rate, now); fresh {
			blocks = append(blocks, b)
		}
		r.mu.Unlock()
	}
	for some := range slices.Chunk(blocks, maxReportBlocks) {
		f.peer.stats().receiverReports.Add(1)
		f.send(&rtcp.ReceiverReport{SSRC: f.ssrc, Reports: some})
	}
	return len(blocks) > 0
}

// measurePath takes the round-trip time of ICE's checks, and lets reorder buffers wait for as long as a repair takes.
func (f *feedback) measurePath(readers []*reader) {
	if len(readers) == 0 {
		return
	}
	if pair, ok := f.peer.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePairStats(); ok {
		f.roundTrip.Sample(time.Duration(pair.CurrentRoundTripTime * float64(time.Second)))
	}
	_, timeout := f.roundTrip.Estimate()
	for _, r := range readers {
		if e := r.sink.Load(); e != nil && e.feedback().NACK {
			r.mu.Lock()
			patience := patienceOn(r.repair.Tolerance(), timeout, r.kind)
			r.repair.Patience = patience
			r.mu.Unlock()
			e.track.SetPatience(patience)
		}
	}
}

// Bounds of patienceOn: what a conversation bears.
const (
	maxVideoPatience = 400 * time.Millisecond
	maxAudioPatience = 200 * time.Millisecond
)

// patienceOn is how long a missing packet is waited for: two attempts to have it sent again, if that is longer than what media waits anyway.
func patienceOn(tolerance, timeout time.Duration, kind media.Kind) time.Duration {
	limit := maxVideoPatience
	if kind == media.KindAudio {
		limit = maxAudioPatience
	}
	return min(max(tolerance+2*timeout, media.DefaultPatience(kind)), limit)
}

// send writes RTCP. A connection that is on its way up or down loses it, as a network would.
func (f *feedback) send(packets ...rtcp.Packet) {
	if len(packets) == 0 {
		return
	}
	if err := f.peer.pc.WriteRTCP(packets); err != nil {
		if leftOut, ok := f.faults.Admit("sending RTCP", time.Now()); ok {
			f.peer.session.log.Debug("sending RTCP", "error", err, "left_out", leftOut)
		}
	}
}
