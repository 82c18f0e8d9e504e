#!/usr/bin/env node
'use strict'
// `npx podway`: the command, the same Rust code that `cargo install` builds.

const native = require('./native.js')

if (native.command === undefined) {
  console.error('podway: this build of the package comes without the command')
  process.exit(2)
}
// Node's own handlers raise the signal that they are called for: behind the command's they would be called again,
// without end. Whoever listens and stops listening leaves the signal to the system.
for (const signal of ['SIGINT', 'SIGTERM']) {
  const listener = () => {}
  process.on(signal, listener)
  process.removeListener(signal, listener)
}
process.exit(native.command(['podway', ...process.argv.slice(2)]))
