package media

import "time"

// Frame is what a consumer gets: a chunk of PCM, a picture, or an access unit or packet as received.
// It belongs to the consumer that took it, which must call Payload.Release once.
type Frame struct {
	Kind Kind
	// Sequence counts the frames made for the consumer from 1, dropped ones included.
	Sequence     uint64
	RTPTimestamp uint32
	// Time is on the track's time line: 0 at its first packet, from the RTP clock, never going back.
	Time time.Duration
	// Duration is the length of audio; 0 for video.
	Duration time.Duration
	// Captured is when it was captured, by the publisher's NTP clock; zero when not known.
	Captured time.Time
	// Received is when its last packet arrived.
	Received time.Time
	// Lost is what the network lost since the frame before.
	Lost Loss
	// Dropped is what the consumer's queue dropped since the frame before.
	Dropped Loss
	// Silence is how long nothing was sent just before, though nothing was lost, for which no frames were made: of decoded audio.
	Silence time.Duration
	// Samples per channel, of audio.
	Samples int
	// Concealed tells that part of the audio was made up in place of lost packets.
	Concealed bool
	// Silent tells that the audio holds no sound at all, as encoders make it of a microphone that is switched off.
	Silent bool
	// Level is RFC 6464's level in -dBov, valid when HasLevel; Voice is its voice flag.
	Level           uint8
	HasLevel, Voice bool
	// Width and Height in pixels, of video, as delivered.
	Width, Height int
	// Rotation is the clockwise turn in degrees that is still needed.
	Rotation int
	KeyFrame bool
	// Corrupt tells that something it depends on was lost.
	Corrupt bool
	// Planes says where the planes lie in the payload; none for JPEG, encoded and audio.
	Planes  []Plane
	Payload *Payload

	span     time.Duration // how much of the time line goes with it when it is dropped
	replayed bool          // from before the consumer attached: its age does not count against the queue
}

// Loss counts missing frames and their length.
type Loss struct {
	Frames   uint32
	Duration time.Duration
}

// Plane is the place of one plane in a payload.
type Plane struct {
	Offset, Stride int // bytes
}

// EventKind says what an Event tells.
type EventKind uint8

// The kinds of events.
const (
	EventPaused         EventKind = iota + 1 // Muted says whether by the publisher
	EventResumed                             //
	EventFormatChanged                       // Codec, Width, Height as received
	EventGap                                 // Gap: network loss that nothing could repair
	EventTooLarge                            // PayloadBytes, of a picture that is not delivered
	EventUndecodable                         // Codec, Reason
	EventQualityLimited                      // Limit, which is zero when it is over
	EventKey                                 // Key, Volume, Length: a telephone key was pressed (RFC 4733)
)

// Event tells a consumer what happened, in its place between the frames.
type Event struct {
	Kind          EventKind
	Time          time.Duration
	Muted         bool
	Codec         Codec
	Width, Height int
	Gap           time.Duration
	PayloadBytes  int
	Reason        string
	Key           byte          // 0 to 9, *, #, A to D
	Volume        uint8         // of a key, 0 to 63, in -dBm0
	Length        time.Duration // of a key
	Limit         QualityLimit
}

// Item is one of a Frame and an Event.
type Item struct {
	Frame *Frame
	Event *Event
}
