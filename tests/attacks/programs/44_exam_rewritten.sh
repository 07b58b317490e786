# As the product: rewrites a file that the next evaluation reads from the scenarios' directory, in its place and by
# putting another directory there.
forged='verdict() { echo forged; }'
echo "$forged" > scenarios/shared.sh
rm -f scenarios/shared.sh && echo "$forged" > scenarios/shared.sh
if mv scenarios scenarios-aside; then
  cp -r scenarios-aside scenarios
  echo "$forged" > scenarios/shared.sh
fi
exit 0
