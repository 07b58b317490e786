# As the product: leaves a daemon that waits for the results and writes others over them.
late='
  for try in $(seq 4000); do
    [ -d "$1" ] || exit
    results="$1/product/artifacts/factory/scenario_results.json"
    if [ -e "$results" ] && ! grep -q by-the-product "$results"; then
      echo "{\"schema\":1,\"forged\":\"by-the-product\",\"total\":1,\"passed\":1,\"results\":[]}" > "$results"
    fi
    sleep 0.05
  done'
(env -i PATH="$PATH" setsid bash -c "$late" late "$base" > /dev/null 2>&1 &)
# It shall have left the group by the time that this one is ended.
sleep 0.3
exit 0
