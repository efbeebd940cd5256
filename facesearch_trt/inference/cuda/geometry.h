/* The arithmetic of one pixel of the device stages, shared by the kernels and by the test that holds it against OpenCV.
 *
 * Both samplers do OpenCV's fixed-point steps, in its order, so that a picture prepared on the device gives what the CPU gives:
 * cv2.resize(INTER_LINEAR) for uint8 (coefficients of 11 bits) and cv2.warpAffine(INTER_LINEAR) (positions of 1/32 px).
 * Pictures are read as B, G, R, each 0 to 255, whatever they are stored as.
 */
#ifndef FACESEARCH_GEOMETRY_H
#define FACESEARCH_GEOMETRY_H

#ifdef __CUDACC__
#define FS_INLINE static __device__ __forceinline__
#else
#include <math.h>

#define FS_INLINE static inline
#endif

enum { FS_BGR = 0, FS_NV12 = 1 };

/* A picture in device memory. */
typedef struct {
    unsigned long long plane0; /* BGR or Y */
    unsigned long long plane1; /* interleaved UV of NV12 */
    int pitch0, pitch1;        /* bytes per row */
    int width, height;         /* px */
    int format;
    /* YUV to RGB in units of 2^-16: y' = y_gain * max(0, y - y_offset), r = y' + v_to_r * (v - 128) and so on. */
    int y_offset, y_gain, v_to_r, u_to_g, v_to_g, u_to_b;
    int unused;
} fs_frame;

/* How a picture lies in a detector's input: scaled, at the top left. */
typedef struct {
    double step;                     /* frame px per network px */
    int shown_width, shown_height;   /* network px that the picture covers */
    int frame;                       /* index into the frames */
    int unused;
} fs_look;

/* One face to be cut out. */
typedef struct {
    double inverse[6]; /* chip px to frame px, rows of a 2 x 3 matrix */
    int frame;
    int unused;
} fs_face;

FS_INLINE int fs_clamp(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

FS_INLINE void fs_pixel(const fs_frame *frame, int x, int y, int bgr[3]) {
    const unsigned char *row = (const unsigned char *)(frame->plane0) + (long long)y * frame->pitch0;
    if (frame->format == FS_BGR) {
        row += 3 * x;
        bgr[0] = row[0];
        bgr[1] = row[1];
        bgr[2] = row[2];
    } else {
        /* Two by two pixels share one U and V, as in cv2.COLOR_YUV2BGR_NV12. */
        const unsigned char *uv = (const unsigned char *)(frame->plane1) + (long long)(y >> 1) * frame->pitch1 + (x & ~1);
        int luma = row[x] > frame->y_offset ? (row[x] - frame->y_offset) * frame->y_gain : 0;
        int u = uv[0] - 128, v = uv[1] - 128, half = 1 << 15;
        bgr[0] = fs_clamp((luma + frame->u_to_b * u + half) >> 16, 0, 255);
        bgr[1] = fs_clamp((luma + frame->u_to_g * u + frame->v_to_g * v + half) >> 16, 0, 255);
        bgr[2] = fs_clamp((luma + frame->v_to_r * v + half) >> 16, 0, 255);
    }
}

/* Where a resized pixel looks: the first of two source pixels, and the weights of both in 1/2048. Each weight is rounded by itself,
 * so that they may sum to a little more or less. */
FS_INLINE void fs_resize_tap(int index, double step, int length, int *first, int weights[2]) {
    float position = (float)((index + 0.5) * step - 0.5);
    int start = (int)floorf(position);
    float share = position - (float)start;
    if (start < 0) {
        start = 0;
        share = 0;
    }
    if (start >= length - 1) {
        start = length - 1;
        share = 0;
    }
    *first = start;
    weights[0] = (int)rintf((1.0f - share) * 2048.0f);
    weights[1] = (int)rintf(share * 2048.0f);
}

/* One pixel of cv2.resize(frame, fx=1/step, fy=1/step, INTER_LINEAR). */
FS_INLINE void fs_resized(const fs_frame *frame, double step, int x, int y, int bgr[3]) {
    int left, top, across[2], down[2], corner[4][3], channel;
    fs_resize_tap(x, step, frame->width, &left, across);
    fs_resize_tap(y, step, frame->height, &top, down);
    int right = fs_clamp(left + 1, 0, frame->width - 1), bottom = fs_clamp(top + 1, 0, frame->height - 1);
    fs_pixel(frame, left, top, corner[0]);
    fs_pixel(frame, right, top, corner[1]);
    fs_pixel(frame, left, bottom, corner[2]);
    fs_pixel(frame, right, bottom, corner[3]);
    for (channel = 0; channel < 3; ++channel) {
        int upper = corner[0][channel] * across[0] + corner[1][channel] * across[1];
        int lower = corner[2][channel] * across[0] + corner[3][channel] * across[1];
        bgr[channel] = fs_clamp((((down[0] * (upper >> 4)) >> 16) + ((down[1] * (lower >> 4)) >> 16) + 2) >> 2, 0, 255);
    }
}

FS_INLINE void fs_pixel_or_black(const fs_frame *frame, int x, int y, int bgr[3]) {
    if (x >= 0 && y >= 0 && x < frame->width && y < frame->height)
        fs_pixel(frame, x, y, bgr);
    else
        bgr[0] = bgr[1] = bgr[2] = 0;
}

/* Rounds to the nearest integer, ties to even, within 32 bits: cv::saturate_cast<int>(double). */
FS_INLINE int fs_round(double value) {
    value = rint(value);
    return value < -2147483647.0 ? -2147483647 : value > 2147483647.0 ? 2147483647 : (int)value;
}

/* One pixel of cv2.warpAffine(frame, matrix, INTER_LINEAR, borderValue=0), given the matrix's inverse. */
FS_INLINE void fs_warped(const fs_frame *frame, const double inverse[6], int x, int y, int bgr[3]) {
    int corner[4][3], channel;
    /* Positions in 1/1024 px, then rounded to 1/32 px. */
    long long column = (long long)fs_round((inverse[1] * y + inverse[2]) * 1024) + 16 + fs_round(inverse[0] * x * 1024);
    long long line = (long long)fs_round((inverse[4] * y + inverse[5]) * 1024) + 16 + fs_round(inverse[3] * x * 1024);
    int across = (int)((column >> 5) & 31), down = (int)((line >> 5) & 31);
    /* Far outside is as black as just outside; the clamp keeps the sums below within 32 bits. */
    long long far = 1 << 20;
    long long left_px = column >> 10, top_px = line >> 10;
    int left = (int)(left_px < -far ? -far : left_px > far ? far : left_px);
    int top = (int)(top_px < -far ? -far : top_px > far ? far : top_px);
    fs_pixel_or_black(frame, left, top, corner[0]);
    fs_pixel_or_black(frame, left + 1, top, corner[1]);
    fs_pixel_or_black(frame, left, top + 1, corner[2]);
    fs_pixel_or_black(frame, left + 1, top + 1, corner[3]);
    for (channel = 0; channel < 3; ++channel) {
        int sum = (corner[0][channel] * (32 - across) + corner[1][channel] * across) * (32 - down) +
                  (corner[2][channel] * (32 - across) + corner[3][channel] * across) * down;
        bgr[channel] = (sum + 512) >> 10;
    }
}

/* A pixel as a network sees it: the wanted channel of a B, G, R pixel, less the mean, times the factor. */
FS_INLINE float fs_normalised(const int bgr[3], int channel, int rgb, const float mean[3], float factor) {
    return ((float)bgr[rgb ? 2 - channel : channel] - mean[channel]) * factor;
}

#endif
