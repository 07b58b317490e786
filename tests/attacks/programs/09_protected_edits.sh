# Edits what judges and steers it: the exam, the specs, workflows, settings, instructions for agents,
# also under names that differ by case.
for path in scenarios/easy.md scenarios/exam.md specs/product.md .github/workflows/ci.yml \
  dark-factory.yaml CLAUDE.md sub/AGENTS.md .claude/settings.json .mcp.json .gitmodules Specs/more.md; do
  mkdir -p "$(dirname "$path")"
  echo '# edited by the agent' >> "$path"
done
echo edited
