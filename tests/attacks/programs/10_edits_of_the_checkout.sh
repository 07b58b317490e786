# Edits the specs and the settings where the person has them, outside the workspace.
echo '# edited by the agent' >> "$base/product/specs/product.md" && echo specs
echo '# edited by the agent' >> "$base/product/dark-factory.yaml" && echo settings
exit 0
