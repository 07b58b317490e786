# As the product: reads the exam, the journal and the results where the factory keeps them.
cat "$base"/product/scenarios/*.md scenarios/*.md
cat "$base"/product/artifacts/factory/*.json "$base"/product/artifacts/factory/runs/*/{events.jsonl,blobs/*} | grep -a kanari-sealed
exit 0
