# As the product: says what it knows to a service outside.
exec 4<> "/dev/tcp/127.0.0.1/$port" && echo "heard $*" >&4
exit 0
