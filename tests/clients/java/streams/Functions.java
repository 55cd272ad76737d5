/**
 * The functions that a described topology uses, by name: `name` or `name:argument`.
 *
 * Keys and values are strings or null. The same functions are in streams/tests/differential/functions.rs;
 * both sides must do the same with every input.
 */
final class Functions {
    private Functions() {}

    static boolean test(String function, String key, String value) {
        return switch (name(function)) {
            case "value_has" -> value != null && value.contains(argument(function));
            case "key_is" -> argument(function).equals(key);
            case "has_value" -> value != null;
            case "even" -> value == null || value.length() % 2 == 0;
            default -> throw new IllegalArgumentException(function);
        };
    }

    /** A new key, which may be null. */
    static String key(String function, String key, String value) {
        return switch (name(function)) {
            case "first" -> value == null || value.isEmpty() ? null : value.substring(0, 1);
            case "last" -> value == null || value.isEmpty() ? null : value.substring(value.length() - 1);
            case "suffix" -> text(key) + argument(function);
            case "const" -> argument(function);
            case "same" -> key;
            default -> throw new IllegalArgumentException(function);
        };
    }

    /** A new value; only `nullify` makes null of what is not. */
    static String value(String function, String key, String value) {
        return switch (name(function)) {
            case "append" -> cut(text(value) + argument(function));
            case "nullify" -> value != null && value.contains(argument(function)) ? null : value;
            case "with_key" -> cut(text(key) + ":" + text(value));
            case "length" -> String.valueOf(text(value).length());
            case "same" -> value;
            default -> throw new IllegalArgumentException(function);
        };
    }

    static String join(String left, String right) {
        return cut("(" + text(left) + "," + text(right) + ")");
    }

    /** A new aggregate; `clear` makes null of values that hold its argument. */
    static String add(String function, String value, String aggregate) {
        return switch (name(function)) {
            case "concat" -> cut(text(aggregate) + text(value));
            case "clear" -> value != null && value.contains(argument(function)) ? null : cut(text(aggregate) + text(value));
            default -> throw new IllegalArgumentException(function);
        };
    }

    /** Takes a value out of an aggregate, or notes that it was. */
    static String subtract(String value, String aggregate) {
        return cut(text(aggregate) + "-" + text(value));
    }

    static String reduce(String function, String before, String value) {
        return switch (name(function)) {
            case "concat" -> cut(text(before) + "|" + text(value));
            case "last" -> value;
            case "max" -> text(before).compareTo(text(value)) >= 0 ? before : value;
            default -> throw new IllegalArgumentException(function);
        };
    }

    static String text(String text) {
        return text == null ? "~" : text;
    }

    /** The end of a text, so that aggregates of aggregates stay small. */
    private static String cut(String text) {
        return text.length() <= LONGEST ? text : text.substring(text.length() - LONGEST);
    }

    private static String name(String function) {
        int at = function.indexOf(':');
        return at < 0 ? function : function.substring(0, at);
    }

    private static String argument(String function) {
        return function.substring(function.indexOf(':') + 1);
    }

    private static final int LONGEST = 40;
}
