'use strict'
// Builds the native half with cargo and puts it beside index.js. Runs at `npm install`.

const { copyFileSync, existsSync } = require('node:fs')
const { join } = require('node:path')
const { spawnSync } = require('node:child_process')

const here = __dirname
const manifest = join(here, 'Cargo.toml')
const built = join(here, 'podway.node')
if (!existsSync(manifest)) {
  // A published package carries the built file and no sources.
  process.exit(existsSync(built) ? 0 : 1)
}

const target = process.env.CARGO_TARGET_DIR ?? join(here, '..', 'target')
const cargo = spawnSync(
  'cargo',
  ['build', '--quiet', '--release', '--manifest-path', manifest, '--target-dir', target],
  { stdio: 'inherit' }
)
if (cargo.error) {
  console.error('podway: cargo is needed to build the native half: https://rustup.rs')
  process.exit(1)
}
if (cargo.status !== 0) {
  process.exit(cargo.status ?? 1)
}
const names = { linux: 'libpodway_node.so', darwin: 'libpodway_node.dylib', win32: 'podway_node.dll' }
copyFileSync(join(target, 'release', names[process.platform] ?? names.linux), built)
