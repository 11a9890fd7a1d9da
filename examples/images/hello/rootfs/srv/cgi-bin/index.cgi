#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "${GREETING:-hello} from ${TASK:-a container} on ${NODE:-some node}"
