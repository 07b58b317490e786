# Delivers a FIFO, which hangs whoever opens it, and a socket.
mkfifo fifo
/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
echo fifo
