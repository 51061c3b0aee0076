package media

import (
	"encoding/binary"
	"math"
	"time"
)

// chunker cuts decoded audio into frames of the length that a consumer asked for. Their times come from the packets' RTP
// timestamps, never from adding lengths up.
type chunker struct {
	samples   []int16 // interleaved, not yet sent
	concealed bool    // part of them was made up
	start     time.Duration
	told      time.Duration // of the frame before
}

// pcm is a run of decoded samples and what is known of it.
type pcm struct {
	samples   []int16
	start     time.Duration // of the first sample
	u         *unit         // the packet that it came of, or came before
	concealed bool
	replayed  bool // from before the consumer attached
}

// feed takes decoded samples and queues the frames that they complete.
func (c *Consumer) feed(p pcm) {
	f := c.req.Audio
	k := &c.chunk
	k.start = p.start - samplesTime(len(k.samples)/f.Channels, f.Rate)
	k.samples = append(k.samples, p.samples...)
	k.concealed = k.concealed || p.concealed
	size := int(f.Chunk/time.Millisecond) * f.Rate / 1000 * f.Channels
	if f.Rate == 44100 { // 441 samples a 10 ms: not a whole number for every millisecond
		size = int(math.Round(float64(f.Chunk)*44.1/float64(time.Millisecond))) * f.Channels
	}
	sent := 0
	for len(k.samples)-sent >= size {
		c.emit(k.samples[sent:sent+size], p)
		sent += size
	}
	k.samples = append(k.samples[:0], k.samples[sent:]...)
	if sent > 0 {
		k.concealed = p.concealed && len(k.samples) > 0
	}
}

// flush sends what is left as a short frame: what follows does not join on.
func (c *Consumer) flush(u *unit) {
	if len(c.chunk.samples) > 0 {
		c.emit(c.chunk.samples, pcm{u: u})
	}
	c.chunk = chunker{samples: c.chunk.samples[:0], told: c.chunk.told}
}

// emit queues one frame, and moves the chunker's start behind it.
func (c *Consumer) emit(samples []int16, p pcm) {
	f, k, u := c.req.Audio, &c.chunk, p.u
	n := len(samples) / f.Channels
	length := samplesTime(n, f.Rate)
	back := k.start - u.time
	k.told = max(k.start, k.told)
	frame := &Frame{
		Kind: KindAudio, Time: k.told, Duration: length, span: length, Received: u.received,
		RTPTimestamp: u.timestamp + uint32(int64(math.Round(back.Seconds()*float64(u.codec.ClockRate)))),
		Samples:      n, Concealed: k.concealed, Silent: isSilent(samples), replayed: p.replayed, Level: u.ext.level, HasLevel: u.ext.hasLevel, Voice: u.ext.voice,
		Payload: newPayload(nil, f.Sample.bytes(samples)),
	}
	if !u.captured.IsZero() {
		frame.Captured = u.captured.Add(back)
	}
	k.start += length
	c.sent = true
	c.push(frame)
}

// isSilent tells whether there is no sound at all.
func isSilent(samples []int16) bool {
	for _, s := range samples {
		if s < -1 || s > 1 {
			return false
		}
	}
	return true
}

// bytes lays samples out. Decoders and the resampler work in 16 bits, so that 32-bit floats are exact.
func (f SampleFormat) bytes(samples []int16) []byte {
	if f == F32LE {
		b := make([]byte, 4*len(samples))
		for i, s := range samples {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(float32(s)/32768))
		}
		return b
	}
	b := make([]byte, 2*len(samples))
	for i, s := range samples {
		binary.LittleEndian.PutUint16(b[2*i:], uint16(s))
	}
	return b
}

// samplesTime is the length of n samples.
func samplesTime(n, rate int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(rate)
}
