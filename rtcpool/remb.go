package rtcpool

import "time"

type bandwidth struct{}

func (f *feedback) estimate(sent []byte, size int, now time.Duration)  {}
func (f *feedback) sendBandwidth(readers []*reader, now time.Duration) {}
