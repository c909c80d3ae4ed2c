/* SPDX-License-Identifier: MIT
 *
 * Which handler answers which path.
 */
#ifndef HANDLERS_ROUTER_H
#define HANDLERS_ROUTER_H

#include "http.h"

/* Answers any request: by the route's handler, 404, or 405 with "allow". */
void router_handle(struct http_request *r);

#endif
