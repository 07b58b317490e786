# Removes the exam wherever it may be: in the checkout, in its history, where it is hidden.
rm -rf "${base:?}"/product/scenarios "$base"/product/.git "$base"/state/dark-factory/*/shuffle
find "$base/state" -name exam.md -delete 2>/dev/null
exit 0
