/* SPDX-License-Identifier: MIT
 *
 * The handlers that the router knows. What each answers is in README, "Routes".
 */
#ifndef HANDLERS_HANDLERS_H
#define HANDLERS_HANDLERS_H

#include "http.h"

void health_handle(struct http_request *r);  /* GET /health */
void data_handle(struct http_request *r);    /* GET /data */
void pattern_handle(struct http_request *r); /* GET /data/SIZE */
void upload_handle(struct http_request *r);  /* POST, PUT /data */
void stats_handle(struct http_request *r);   /* GET /stats */
void home_handle(struct http_request *r);    /* GET / */

#endif
