package tidegate;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;
import org.apache.catalina.Context;
import org.apache.catalina.LifecycleState;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/**
 * Serves applications ({@code .war} files or exploded folders) in an embedded Tomcat with this connector.
 *
 * <p>The program {@code tidegate-servlet} starts it. Arguments: {@code --set NAME=VALUE} for an attribute of the connector, and
 * {@code PATH=FILE} for each application, with the path of its context ({@code /} for the root).
 */
public final class Launcher {
    /** Loggers that are held here, since one that nobody holds forgets its level. */
    private static final List<Logger> QUIET = List.of(Logger.getLogger("org.apache"), Logger.getLogger("tidegate"));

    public static void main(String[] arguments) throws IOException {
        if (System.getProperty("java.util.logging.config.file") == null) {
            QUIET.forEach(logger -> logger.setLevel(Level.WARNING));
        }
        Path base = Files.createTempDirectory("tidegate-servlet-");
        try {
            serve(arguments, base);
        } catch (Exception | LinkageError error) {
            delete(base);
            fail(reason(error));
        }
    }

    private static void serve(String[] arguments, Path base) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base.toString());
        Files.createDirectory(base.resolve("webapps"));
        Connector connector = new Connector(TidegateProtocol.class.getName());
        connector.setThrowOnFailure(true);
        tomcat.getService().addConnector(connector);
        tomcat.setConnector(connector);
        List<Context> contexts = new ArrayList<>();
        List<String> names = new ArrayList<>();
        for (int at = 0; at < arguments.length; at++) {
            if (arguments[at].equals("--set")) {
                set(connector, arguments[++at]);
                continue;
            }
            int end = arguments[at].indexOf('=');
            File file = new File(arguments[at].substring(end + 1)).getAbsoluteFile();
            String path = arguments[at].substring(0, end);
            contexts.add(tomcat.addWebapp(path.equals("/") ? "" : path, file.toString()));
            names.add(file.getName());
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(tomcat, base), "tidegate-stop"));
        tomcat.start();
        for (Context context : contexts) {
            if (context.getState() != LifecycleState.STARTED) {
                throw new IllegalStateException(
                        context.getDocBase() + " did not start; the log above says why");
            }
        }
        String host = connector.getProperty("address") == null ? "0.0.0.0" : host(connector);
        System.err.println("tidegate serves " + String.join(", ", names) + " on http://" + host + ":"
                + connector.getLocalPort() + "/ (Ctrl-C stops)");
        tomcat.getServer().await();
    }

    private static void set(Connector connector, String assignment) {
        int end = assignment.indexOf('=');
        String name = assignment.substring(0, end);
        if (name.equals("port")) {
            connector.setPort(Integer.parseInt(assignment.substring(end + 1)));
        } else if (!connector.setProperty(name, assignment.substring(end + 1))) {
            throw new IllegalArgumentException("the connector has no attribute " + name);
        }
    }

    private static String host(Connector connector) {
        Object address = connector.getProperty("address");
        String host = address instanceof java.net.InetAddress
                ? ((java.net.InetAddress) address).getHostAddress()
                : String.valueOf(address);
        return host.indexOf(':') < 0 ? host : "[" + host + "]";
    }

    private static void stop(Tomcat tomcat, Path base) {
        try {
            tomcat.stop();
            tomcat.destroy();
        } catch (Exception error) {
            System.err.println("tidegate-servlet: " + reason(error));
        }
        delete(base);
    }

    /** The innermost reason: those around it say that a component has failed. */
    private static String reason(Throwable error) {
        Throwable inner = error;
        while (inner.getCause() != null) {
            inner = inner.getCause();
        }
        return inner.getMessage() == null ? inner.toString() : inner.getMessage();
    }

    /** Ends without the hooks of a server that has not started. */
    private static void fail(String reason) {
        System.err.println("tidegate-servlet: " + reason);
        Runtime.getRuntime().halt(1);
    }

    private static void delete(Path folder) {
        try (Stream<Path> paths = Files.walk(folder)) {
            paths.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        } catch (IOException | UncheckedIOException error) {
            // What is left in a temporary folder harms nobody.
        }
    }

    private Launcher() {}
}
