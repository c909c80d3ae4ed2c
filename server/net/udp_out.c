/* SPDX-License-Identifier: MIT */
#include "net/udp_out.h"

#include <string.h>

enum udp_result udp_out_send(struct udp_out *out, const struct udp_train *train)
{
    size_t sent;
    enum udp_result result = udp_send(out->socket, train, &sent);
    if (result != UDP_BLOCKED)
        return result;
    out->held = hp_buffer_new(out->pool, train->len - sent);
    if (out->held == NULL)
        return UDP_OK;
    out->held->len = train->len - sent;
    memcpy(out->held->data, train->data + sent, out->held->len);
    out->train = *train;
    out->train.data = out->held->data;
    out->train.len = out->held->len;
    return UDP_BLOCKED;
}

enum udp_result udp_out_resume(struct udp_out *out)
{
    size_t sent;
    enum udp_result result = udp_send(out->socket, &out->train, &sent);
    if (result == UDP_BLOCKED) {
        out->train.data += sent;
        out->train.len -= sent;
        return result;
    }
    udp_out_fini(out);
    return result;
}

void udp_out_fini(struct udp_out *out)
{
    hp_buffer_unref(out->held);
    out->held = NULL;
}
