package media

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeyFramesAreAskedForOnceAndThenWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var count atomic.Int32
		k := &keyFrameAsker{send: func() { count.Add(1) }}
		defer k.close()
		for range 100 {
			k.want()
		}
		synctest.Wait()
		if n := count.Load(); n != 1 {
			t.Fatalf("%d requests for one wish", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		n := count.Load()
		if n > 5 || n < 4 {
			t.Fatalf("%d requests within a minute that gave nothing, want 4 or 5", n)
		}
		k.satisfied()
		time.Sleep(time.Hour)
		synctest.Wait()
		if count.Load() != n {
			t.Fatalf("asked again after a key frame came")
		}
		k.want()
		synctest.Wait()
		if count.Load() != n+1 {
			t.Fatalf("a new wish was not sent at once")
		}
	})
}

func TestKeyFramesAreNotAskedForAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var count atomic.Int32
		k := &keyFrameAsker{send: func() { count.Add(1) }}
		k.want()
		synctest.Wait()
		k.close()
		k.want()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := count.Load(); n != 1 {
			t.Fatalf("%d requests, want 1", n)
		}
	})
}
