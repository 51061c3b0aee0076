// One call per access unit: send, receive all, describe.
#ifndef PENSTOCK_AVCODEC_DECODER_H
#define PENSTOCK_AVCODEC_DECODER_H

#include <libavcodec/avcodec.h>
#include <stddef.h>
#include <stdint.h>

// The layout of cmem's counters.
typedef struct {
	int64_t objects;
	int64_t bytes;
} avc_counter;

// Why a picture was refused before it was allocated.
enum { AVC_REFUSED_NOT, AVC_REFUSED_SIZE, AVC_REFUSED_FORMAT };

// Values of avc_picture.layout and .matrix are those of package picture.
enum { AVC_I420 = 1, AVC_I422, AVC_I444, AVC_I010 };
enum { AVC_BT601, AVC_BT709, AVC_BT2020 };

typedef struct {
	AVFrame *frame; // owned by the receiver
	uint8_t *data[3];
	int stride[3];
	int width, height;
	int layout, matrix, full_range, corrupt;
	int64_t tag;
} avc_picture;

// Memory for pictures of one size. It lives as long as the decoder or one of its blocks.
typedef struct avc_pool avc_pool;

enum { AVC_MAX_OUT = 8 };

typedef struct {
	AVCodecContext *ctx;
	AVPacket *packet;
	AVFrame *frame;
	AVBufferRef *input;
	avc_pool *pool; // of the size of the last picture; NULL before the first
	avc_counter *decoders, *buffers;
	int64_t max_pixels;
	int refused;
	int unpaint; // find the blocks that were not decoded, of which the decoder says nothing
	int count; // of out
	avc_picture out[AVC_MAX_OUT];
} avc_decoder;

int avc_open_video(avc_decoder **out, const char *name, int64_t max_pixels, void *decoders, void *buffers);
int avc_open_audio(avc_decoder **out, const char *name, int rate, int channels, void *decoders);
void avc_close(avc_decoder *d);

// avc_decode_video fills d->out and returns 0 or the first error; pictures may have come in spite of it.
// d->refused tells of an error whether a picture was refused. With size 0 it goes on receiving.
int avc_decode_video(avc_decoder *d, const void *data, int size, int64_t tag);

// avc_decode_audio writes at most max samples per channel and returns how many, or an error.
int avc_decode_audio(avc_decoder *d, const void *data, int size, int16_t *out, int max);

void avc_free_frame(AVFrame *frame);

#endif
