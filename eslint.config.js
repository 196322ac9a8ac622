import tseslint from 'typescript-eslint';
import vue from 'eslint-plugin-vue';
import prettier from 'eslint-config-prettier';

export default tseslint.config(
  {
    ignores: [
      'dist/',
      'node_modules/',
      'eslint.config.js',
      'test/support/reporter.cjs',
      'resources/*.umd.js',
      'resources/*.min.mjs',
    ],
  },
  ...tseslint.configs.strictTypeChecked,
  ...vue.configs['flat/recommended'],
  {
    languageOptions: {
      parserOptions: {
        projectService: true,
        tsconfigRootDir: import.meta.dirname,
        extraFileExtensions: ['.vue'],
      },
    },
    rules: {
      // Numbers in messages and argv are meant to be printed.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // `() => void call()` one-liners are how effects are passed around here.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      // Bounds are checked by the loop or the parser; noUncheckedIndexedAccess still makes every `!` visible.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      'no-empty': ['error', { allowEmptyCatch: false }],
      eqeqeq: 'error',
    },
  },
  {
    // mocha's expressions and assertions
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-expressions': 'off' },
  },
  {
    files: ['**/*.vue'],
    languageOptions: { parserOptions: { parser: tseslint.parser } },
    rules: {
      'vue/multi-word-component-names': 'off',
      // vue-tsc checks them.
      'vue/require-default-prop': 'off',
    },
  },
  {
    // What the browser, or a Node too old for TypeScript, loads as it is.
    files: ['resources/*.js', 'scripts/*.mjs'],
    ...tseslint.configs.disableTypeChecked,
  },
  prettier,
);
