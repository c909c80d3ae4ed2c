/* SPDX-License-Identifier: MIT
 *
 * Signals that the machine is short of memory: from systemd (MEMORY_PRESSURE_WATCH and MEMORY_PRESSURE_WRITE in the
 * environment, as systemd.io/MEMORY_PRESSURE has it, but for sockets), else from the kernel's pressure stall
 * information for the process's cgroup or the machine, as a trigger of 150 ms of stall in 2 s.
 */
#ifndef SERVER_PRESSURE_H
#define SERVER_PRESSURE_H

/* Returns a descriptor that becomes readable with each signal, or -1 where there is no source; closed with close(2). */
int pressure_open(void);
/* Takes a signal in, so that the descriptor is not readable any more. Returns 0, or -1 when the source is gone. */
int pressure_read(int fd);

#endif
