#!/bin/bash
srun bash -c 'trap "sleep 2; exit 0" TERM; sleep 300 & wait; wait'
