// SPDX-License-Identifier: Apache-2.0
// What the page says, in English and Chinese.

const texts = {
  en: {
    skip: "Skip to the message box", conversations: "Conversations", conversation: "Conversation", newChat: "New chat",
    settings: "Settings", placeholder: "Write a message…", send: "Send", stop: "Stop", system: "System prompt",
    temperature: "Temperature", modelsOwn: "the model's own", maxTokens: "Longest answer, tokens", unlimited: "no limit",
    window: "Window, tokens looked back on", all: "all", theme: "Colours", themeSystem: "Like the system", themeLight: "Light",
    themeDark: "Dark", key: "API key",
    keyNote: "The key stays in this tab and is forgotten when it is closed.", done: "Done", welcome: "What can I do for you?",
    ideas: ["Write a Python function that finds all primes below n", "Explain how a hash table handles collisions",
      "Turn this sentence into a polite e-mail: the delivery is late", "What does the regular expression ^\\d{4}-\\d{2}$ match?"],
    today: "Today", yesterday: "Yesterday", thisWeek: "This week", earlier: "Earlier", follow: "To the end",
    firstToken: "first token", cache: "cache",
    forget: "Forget this conversation", copy: "Copy", copied: "Copied", again: "Again", edit: "Edit", resend: "Send anew",
    cancel: "Cancel", thinking: "Thoughts", stopped: "stopped", length: "the answer reached its limit",
    needKey: "This server needs an API key: open the settings.", offline: "The server does not answer.",
    sure: "Forget this conversation for good?", answering: "Answering…", ended: "The answer is complete.",
  },
  zh: {
    skip: "跳到输入框", conversations: "会话列表", conversation: "对话", newChat: "新对话",
    settings: "设置", placeholder: "输入消息…", send: "发送", stop: "停止", system: "系统提示词",
    temperature: "温度", modelsOwn: "模型默认", maxTokens: "回答最多词元数", unlimited: "不限", window: "窗口（回看词元数）",
    all: "全部", theme: "颜色", themeSystem: "跟随系统", themeLight: "浅色", themeDark: "深色", key: "API 密钥", keyNote: "密钥只保存在此标签页，关闭后即清除。", done: "完成", welcome: "有什么可以帮您？",
    ideas: ["写一个 Python 函数，找出小于 n 的所有素数", "解释哈希表如何处理冲突", "把这句话改写成一封礼貌的邮件：货物晚到了",
      "正则表达式 ^\\d{4}-\\d{2}$ 匹配什么？"],
    today: "今天", yesterday: "昨天", thisWeek: "本周", earlier: "更早", follow: "滚动到底部",
    firstToken: "首词元", cache: "缓存",
    forget: "删除此会话", copy: "复制", copied: "已复制", again: "重新生成", edit: "编辑", resend: "重新发送",
    cancel: "取消", thinking: "思考过程", stopped: "已停止", length: "回答已达上限",
    needKey: "此服务器需要 API 密钥：请打开设置。", offline: "服务器没有响应。",
    sure: "确定要永久删除此会话吗？", answering: "正在回答…", ended: "回答完成。",
  },
};

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

export function text(name) {
  return texts[language][name];
}

export function otherLanguage() {
  return language === "zh" ? "English" : "中文";
}

export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
}

// Fills in every element that carries the name of a text.
export function applyTexts() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label));
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = text(node.dataset.placeholder);
}
