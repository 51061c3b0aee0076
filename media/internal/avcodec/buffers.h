// The memory that pictures are decoded into.
#ifndef PENSTOCK_AVCODEC_BUFFERS_H
#define PENSTOCK_AVCODEC_BUFFERS_H

#include "decoder.h"

static inline void avc_count(avc_counter *c, int64_t objects, int64_t bytes)
{
	__atomic_add_fetch(&c->objects, objects, __ATOMIC_RELAXED);
	__atomic_add_fetch(&c->bytes, bytes, __ATOMIC_RELAXED);
}

// avc_layout is the AVC_… layout of a pixel format, or 0 when we do not take it.
int avc_layout(int format);
int avc_is_full(int format);

// avc_coded_pixels is a bound of what a picture of so many pixels may have when padded to macroblocks.
int64_t avc_coded_pixels(int64_t max_pixels);

// avc_get_buffer is AVCodecContext.get_buffer2: all planes in one block of the decoder's pool.
int avc_get_buffer(AVCodecContext *ctx, AVFrame *frame, int flags);

// avc_close_pool frees what is not out; the rest goes as it comes back. NULL is allowed.
void avc_close_pool(avc_pool *p);

// avc_is_painted tells whether every block of a picture was decoded, of a decoder that unpaints.
int avc_is_painted(const AVFrame *frame);

#endif
