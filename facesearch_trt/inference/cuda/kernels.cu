// The device stages: one thread per output pixel or per cell of a detector's head. See geometry.h for the arithmetic.
#include "geometry.h"

// A detector's output: channels values for each of a picture's cells.
struct fs_head {
    unsigned long long data;
    int channels;
    int channels_last;  // [cells, channels] for each picture, else [channels, cells]
};

// Fills planes, float [looks, 3, net_height, net_width], with scaled and normalised pictures; black beside them.
// Grid: x and y over the network's input, z over the looks.
extern "C" __global__ void letterbox(const fs_frame *frames, const fs_look *looks, float *planes, int net_width,
                                     int net_height, int rgb, float mean0, float mean1, float mean2, float factor) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= net_width || y >= net_height) return;
    const fs_look look = looks[blockIdx.z];
    float mean[3] = {mean0, mean1, mean2};
    int bgr[3] = {0, 0, 0};
    if (x < look.shown_width && y < look.shown_height) fs_resized(&frames[look.frame], look.step, x, y, bgr);
    long long plane = (long long)net_width * net_height;
    float *out = planes + 3 * plane * blockIdx.z + (long long)y * net_width + x;
    for (int channel = 0; channel < 3; ++channel) out[channel * plane] = fs_normalised(bgr, channel, rgb, mean, factor);
}

// Cuts faces out of their pictures: chips, uint8 [faces, size, size, 3] BGR, and the same normalised for the embedder, float
// [faces, 3, size, size]. Grid: x and y over the chip, z over the faces.
extern "C" __global__ void warp_faces(const fs_frame *frames, const fs_face *faces, unsigned char *chips, float *planes,
                                      int size, int rgb, float mean0, float mean1, float mean2, float factor) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= size || y >= size) return;
    const fs_face *face = &faces[blockIdx.z];
    float mean[3] = {mean0, mean1, mean2};
    int bgr[3];
    fs_warped(&frames[face->frame], face->inverse, x, y, bgr);
    long long plane = (long long)size * size, pixel = (long long)y * size + x;
    unsigned char *chip = chips + 3 * (plane * blockIdx.z + pixel);
    float *out = planes + 3 * plane * blockIdx.z + pixel;
    for (int channel = 0; channel < 3; ++channel) {
        chip[channel] = (unsigned char)bgr[channel];
        out[channel * plane] = fs_normalised(bgr, channel, rgb, mean, factor);
    }
}

// Gathers what a detector says of the cells that may hold a face, so that the rest of its heads need not leave the device.
// The first `scores` heads are probabilities whose product is held against the threshold. count: how many cells passed, also
// those that no longer fitted. where: picture and cell of each. rows: the values of all heads, in their order, of each.
// Grid: x over the cells, y over the pictures.
extern "C" __global__ void select_cells(const fs_head *heads, int head_count, int scores, int cells, float threshold,
                                        int capacity, int width, int *count, int *where, float *rows) {
    int cell = blockIdx.x * blockDim.x + threadIdx.x;
    int picture = blockIdx.y;
    if (cell >= cells) return;
    float score = 1.0f;
    for (int index = 0; index < scores; ++index) {
        const float *data = (const float *)heads[index].data;
        score *= fminf(fmaxf(data[(long long)picture * cells + cell], 0.0f), 1.0f);
    }
    if (!(score >= threshold)) return;
    int place = atomicAdd(count, 1);
    if (place >= capacity) return;
    where[2 * place] = picture;
    where[2 * place + 1] = cell;
    float *row = rows + (long long)place * width;
    for (int index = 0; index < head_count; ++index) {
        const fs_head head = heads[index];
        const float *data = (const float *)head.data + (long long)picture * cells * head.channels;
        for (int channel = 0; channel < head.channels; ++channel)
            *row++ = head.channels_last ? data[(long long)cell * head.channels + channel]
                                        : data[(long long)channel * cells + cell];
    }
}
